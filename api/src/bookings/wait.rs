//! Bounds the responses that are held until an outcome is known.

use crate::http::bound::Held;
use crate::http::client_address::Client;
use crate::http::prefer::WaitPreference;
use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// Counts the wait that a client prefers, until the returned value is dropped. If it is one too many, the response is
/// sent without a wait: it was a preference.
pub fn hold_preferred(
    app: &AppState,
    client: Client,
    preference: WaitPreference,
) -> (WaitPreference, Option<Held>) {
    if preference.is_zero() {
        return (preference, None);
    }
    match app.waits.hold(client, 1) {
        Ok(held) => (preference, Some(held)),
        Err(_) => (preference.without_wait(), None),
    }
}

/// Counts the wait of a request that can only be answered with the outcome.
pub fn hold_required(app: &AppState, client: Client) -> Result<Held, Problem> {
    let held = app.waits.hold(client, 1);
    held.map_err(|refusal| refusal.problem(ProblemCode::Overloaded, "waiting requests"))
}
