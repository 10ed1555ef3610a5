//! What an error of the database says about the batch that met it.

use hamro_shared::database::is_transient;
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
            error if is_transient(error) => Self::Transient,
            Error::Database(refusal) => Self::of_refusal(refusal.as_ref()),
            _ => Self::Systemic,
        }
    }

    fn of_refusal(refusal: &dyn DatabaseError) -> Self {
        let code = refusal.code().unwrap_or_default();
        match (code.as_ref(), refusal.constraint(), refusal.table()) {
            // Somebody was faster with one of the batch's tickets or keys: look again, and see it settled.
            ("23505", Some("bookings_pkey" | "bookings_idempotency"), _) => Self::Transient,
            // A value that a booking brought.
            (code, _, _) if code.starts_with("22") => Self::Culprit,
            // The same, if it is for a table that holds such values. A counter that has drifted from its seats must not
            // cost a customer the booking that finds it out.
            (code, _, Some("bookings" | "sales")) if code.starts_with("23") => Self::Culprit,
            _ => Self::Systemic,
        }
    }
}
