//! What an error of a settlement attempt says about the batch.
//!
//! A fault of the system must not fail a booking: only errors on a short list count as bad data. Any other error that
//! is not transient leaves the booking unsettled. An exhausted sequence, a drifted counter or a broken trigger looks
//! like a rejected row, and the customer caused none of them.

use hamro_shared::database::is_transient;
use sqlx::error::DatabaseError;

/// Why an attempt to settle a batch failed.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A bug in the worker: something that cannot happen has happened.
    #[error("invariant violated: {0}")]
    Invariant(&'static str),
}

impl SettleError {
    pub fn is_sqlstate(&self, sqlstate: &str) -> bool {
        self.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == sqlstate)
    }

    pub fn is_io(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Io(_)))
    }

    pub fn as_database_error(&self) -> Option<&dyn DatabaseError> {
        match self {
            Self::Database(error) => error.as_database_error(),
            Self::Invariant(_) => None,
        }
    }
}

/// The reason of a failed attempt, as metrics count it: the class of the error; for transient errors, what is in the way.
pub fn failure_reason(error: &SettleError) -> &'static str {
    match ErrorClass::of(error) {
        ErrorClass::Transient if error.is_sqlstate(LOCK_NOT_AVAILABLE) => "lock-timeout",
        ErrorClass::Transient if error.is_sqlstate(QUERY_CANCELED) => "statement-timeout",
        ErrorClass::Transient if error.is_io() => "unreachable",
        ErrorClass::Transient => "transient",
        ErrorClass::BadData => "bad-data",
        ErrorClass::Unexplained => "unexplained",
        ErrorClass::Systemic => "systemic",
    }
}

/// SQLSTATEs of `lock_timeout` and `statement_timeout`.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
pub const QUERY_CANCELED: &str = "57014";

/// SQLSTATEs that a request's own values can cause, whatever state the database is in.
///
/// - `22021` `character_not_in_repertoire`: the name or the address holds a byte sequence that is not valid text, such
///   as NUL.
/// - `22P05` `untranslatable_character`: the name or the address holds a character that the database's encoding lacks,
///   because it is not UTF-8.
///
/// Nothing else qualifies. The columns are unbounded texts (no `22001`), numbers and times are bounded by their types
/// or are ours (no `22003`, no `22008`), and no constraint checks a value of the request: each constrains what a worker
/// or an operator has written.
const BAD_DATA: [&str; 2] = ["22021", "22P05"];

/// Classes that concern the server, the schema or the session, and so no booking: read-only transactions,
/// authorization, a missing database, syntax and access rules, resources, system errors, and configuration.
const SYSTEMIC: [&str; 7] = ["25", "28", "3D", "42", "53", "58", "F0"];

/// What to do with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Retry the same batch.
    Transient,
    /// A value of a request. Split the batch; the booking that fails alone ends as failed.
    BadData,
    /// The cause is unknown. Split the batch; a booking that fails alone stays unsettled.
    Unexplained,
    /// The server or the session. Splitting shows nothing: pause and retry until it works.
    Systemic,
}

impl ErrorClass {
    pub fn of(error: &SettleError) -> Self {
        match error {
            SettleError::Database(error) => Self::of_database(error),
            SettleError::Invariant(_) => Self::Unexplained,
        }
    }

    fn of_database(error: &sqlx::Error) -> Self {
        match error {
            error if is_transient(error) => Self::Transient,
            sqlx::Error::Database(error) => Self::of_response(error.as_ref()),
            // Only one booking may need the row that cannot be read.
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::Encode(_) => Self::Unexplained,
            _ => Self::Systemic,
        }
    }

    fn of_response(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        match (code.as_ref(), error.constraint()) {
            // Another transaction has settled one of the batch's tickets or keys: the next attempt finds it settled.
            ("23505", Some("bookings_pkey" | "bookings_idempotency")) => Self::Transient,
            (code, _) if BAD_DATA.contains(&code) => Self::BadData,
            (code, _) if SYSTEMIC.iter().any(|class| code.starts_with(class)) => Self::Systemic,
            _ => Self::Unexplained,
        }
    }
}
