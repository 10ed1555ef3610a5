//! What an error of the database says about the batch that met it.

use sqlx::Error;
use sqlx::error::DatabaseError;

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It passes: try the same batch again.
    Transient,
    /// Something in the batch itself: split it, until the culprit stands alone.
    Culprit,
    /// Something that no retry and no split mends, and that no booking should suffer for: stop, and call somebody.
    Systemic,
}

impl Failure {
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut => Self::Transient,
            Error::Database(error) => Self::of_refusal(error.as_ref()),
            _ => Self::Systemic,
        }
    }

    fn of_refusal(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        match code.as_ref() {
            // Somebody was faster with one of the batch's tickets or keys: look again, and see it settled.
            "23505" if matches!(error.constraint(), Some("bookings_pkey" | "bookings_idempotency")) => {
                Self::Transient
            }
            // serialization_failure, deadlock_detected, lock_not_available, query_canceled,
            // idle_in_transaction_session_timeout, too_many_connections
            "40001" | "40P01" | "55P03" | "57014" | "25P03" | "53300" => Self::Transient,
            // The server shuts down or starts up; the connection is gone.
            code if code.starts_with("57P0") || code.starts_with("08") => Self::Transient,
            // A value that a booking brought. Only tables that hold such values: a counter that has drifted from its
            // seats must not cost a customer the booking that finds it out.
            code if code.starts_with("22") => Self::Culprit,
            code if code.starts_with("23") => match error.table() {
                Some("bookings" | "sales") => Self::Culprit,
                _ => Self::Systemic,
            },
            _ => Self::Systemic,
        }
    }
}
