//! What the log is told of a request that was refused or failed. It goes with the response as far as the middleware, which
//! counts it (`gate`).

use std::error::Error;
use std::sync::Arc;

use axum::http::StatusCode;
use hamro_shared::domain::TicketId;

use super::code::ProblemCode;

/// What is behind a problem: for the log, never for the client.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// An extension of the response.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: ProblemCode,
    pub ticket: Option<TicketId>,
    pub cause: Option<Cause>,
}

impl Refusal {
    /// The cause and what is behind it, in one line.
    pub fn cause(&self) -> Option<String> {
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

/// Whether the log is told of a response: the request was fine, and we refused it or failed.
pub fn is_logged(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Problem;

    #[test]
    fn the_log_is_told_the_whole_chain_of_a_cause_and_only_of_what_is_our_fault() {
        use axum::response::IntoResponse;

        let cause = anyhow::anyhow!("the socket is closed").context("asking Postgres").context("listing");
        let failed = Problem::internal(cause).into_response();
        let refusal: &Refusal = failed.extensions().get().unwrap();
        assert_eq!(refusal.cause().unwrap(), "listing: asking Postgres: the socket is closed");
        let unknown = Problem::new(ProblemCode::TicketNotFound, "…").into_response();
        assert!(unknown.extensions().get::<Refusal>().is_none());
    }
}
