"""What schemathesis does not know of the api. It loads this as schemathesis.toml says."""

import schemathesis

# Why a request may be refused although it keeps to every schema.
REASONS = (
    # How two fields go together.
    "must be later than salesOpenAt",
    # What exists at the moment, and what belongs to what.
    "must be the id of a concert",
    "must be the id of a ticket type",
    "must be the id of a tier of this concert",
    "must be the tier's own concert",
    # What was asked for before.
    "idempotency-key-reused",
    # An integer such as `7.0`: one to JSON Schema, but nothing that a client writes for one.
    "cannot be read: invalid type: floating point",
)


@schemathesis.check
def refusal_of_valid_data(ctx, response, case):
    """A request that keeps to the document is refused for no other reason than these."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    reasons = [error["detail"] for error in problem.get("errors", [])] or [problem["code"]]
    others = [reason for reason in reasons if not reason.startswith(REASONS)]
    if others:
        raise AssertionError(f"Valid data was refused: {'; '.join(others)}")
