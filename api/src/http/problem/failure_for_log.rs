//! What the log records about a request that was refused or failed. It travels with the response to the middleware,
//! which counts it.

use std::error::Error;
use std::sync::Arc;

use axum::http::StatusCode;
use hamro_shared::domain::TicketId;

use super::code::ProblemCode;

/// The cause of a problem: for the log, never for the client.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A response extension: what the log needs of a request that was refused or failed.
#[derive(Clone, Debug)]
pub struct FailureForLog {
    pub code: ProblemCode,
    pub ticket: Option<TicketId>,
    pub cause: Option<Cause>,
}

impl FailureForLog {
    /// The cause and its chain of sources, in one line.
    pub fn cause_text(&self) -> Option<String> {
        let cause = self.cause.as_deref()?;
        let mut line = cause.to_string();
        let mut source = cause.source();
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        Some(line)
    }
}

/// Whether a response is logged: the server refused or failed, and the request itself may be correct.
pub fn is_logged(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Problem;

    #[test]
    fn only_responses_that_are_logged_carry_a_refusal_with_its_cause_chain() {
        use axum::response::IntoResponse;

        let cause = anyhow::anyhow!("the socket is closed").context("asking Postgres").context("listing");
        let failed = Problem::internal(cause).into_response();
        let failure: &FailureForLog = failed.extensions().get().unwrap();
        assert_eq!(failure.cause_text().unwrap(), "listing: asking Postgres: the socket is closed");
        let unknown = Problem::new(ProblemCode::TicketNotFound, "…").into_response();
        assert!(unknown.extensions().get::<FailureForLog>().is_none());
    }
}
