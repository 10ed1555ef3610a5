//! Which errors pass.

use sqlx::Error;

/// Whether the same statement may well succeed in a moment: the server cannot be reached, is starting up, shutting down,
/// standing by, or full, or somebody else is in the way.
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => true,
        Error::Database(refusal) => is_transient_code(&refusal.code().unwrap_or_default()),
        _ => false,
    }
}

fn is_transient_code(code: &str) -> bool {
    // serialization_failure, deadlock_detected, lock_not_available, query_canceled,
    // idle_in_transaction_session_timeout, too_many_connections; operator intervention and lost connections.
    matches!(code, "40001" | "40P01" | "55P03" | "57014" | "25P03" | "53300")
        || code.starts_with("57P0")
        || code.starts_with("08")
}
