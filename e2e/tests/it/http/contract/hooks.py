"""Checks that schemathesis does not have. schemathesis.toml loads this file."""

import schemathesis
from schemathesis.engine import observations

# Schemathesis 4.32.5 fails if a text in a response begins like a URL and is none, such as "http://[".
same_origin_path = observations._same_origin_path


def same_origin_path_of_any_text(value, origin):
    try:
        return same_origin_path(value, origin)
    except ValueError:
        return None


observations._same_origin_path = same_origin_path_of_any_text

# Reasons to reject a request that conforms to every schema. Each is the beginning of an error detail, or a problem
# code.
REASONS = (
    # Relations between two fields.
    "must be later than salesOpenAt",
    "is required unless ticketTierId is given",
    "is required with",
    "must not be less than firstRow",
    "must be given together with section",
    "must be earlier than salesCloseAt",
    # Entities that must exist, or must belong to another one.
    "must be the id of a concert",
    "must be the id of a ticket type",
    "must be the id of a tier of this concert",
    "must be the tier's own concert",
    # What was fixed when the entity was created.
    "cannot be changed",
    # The database's time zones, and its clock.
    "must be the name of a time zone",
    "is in the past",
    # Earlier requests.
    "idempotency-key-reused",
    # The patterns of texts do not list all invisible characters.
    "must not contain the control or invisible character",
    "must contain a visible character",
)


@schemathesis.check
def refusal_of_valid_data(ctx, response, case):
    """A request that conforms to the document is rejected for no other reason than these."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    reasons = [error["detail"] for error in problem.get("errors", [])] or [problem["code"]]
    others = [reason for reason in reasons if not reason.startswith(REASONS)]
    if others:
        raise AssertionError(f"Valid data was rejected: {'; '.join(others)}")
