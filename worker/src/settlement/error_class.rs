//! What an error of the database says about the batch that met it.
//!
//! A fault of ours is never a booking's: only what is on a short list counts as bad data, and everything else that is not
//! transient leaves the booking unsettled. A sequence that has run out, a drifted counter or a broken trigger looks like a
//! refused row, and none of them is the customer's fault.

use hamro_shared::database::is_transient;
use sqlx::Error;
use sqlx::error::DatabaseError;

/// SQLSTATEs that a request's own values can cause, whatever state the database is in.
///
/// - `22021` `character_not_in_repertoire`: the name or the address holds a byte sequence that is no text here, such as NUL.
/// - `22P05` `untranslatable_character`: the same, where the database's encoding is not UTF-8 and lacks a character.
///
/// Nothing else qualifies. The columns are unbounded texts (no `22001`), numbers and times are bounded by their types or are
/// ours (no `22003`, no `22008`), and no constraint looks at a value that a request brings: each constrains what a worker or
/// an operator has written.
const BAD_DATA: [&str; 2] = ["22021", "22P05"];

/// Classes that speak of the server, the schema or the session, and so of no booking: authorization, a missing database, a transaction
/// that cannot write, resources, configuration, and the operating system below.
const OF_THE_SERVER: [&str; 7] = ["25", "28", "3D", "42", "53", "58", "F0"];

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// It passes: try the same batch again.
    Transient,
    /// A value that a request brought. Split the batch; the booking that fails alone ends as failed.
    BadData,
    /// No booking is to blame as far as this shows. Split the batch; a booking that fails alone stays unsettled.
    Unexplained,
    /// The server or the session. Splitting shows nothing: stop until it works.
    Systemic,
}

impl ErrorClass {
    pub fn of(error: &Error) -> Self {
        match error {
            error if is_transient(error) => Self::Transient,
            Error::Database(refusal) => Self::of_refusal(refusal.as_ref()),
            // A row that cannot be read may be needed by one booking only.
            Error::Decode(_)
            | Error::ColumnDecode { .. }
            | Error::ColumnNotFound(_)
            | Error::RowNotFound
            | Error::Encode(_) => Self::Unexplained,
            _ => Self::Systemic,
        }
    }

    fn of_refusal(refusal: &dyn DatabaseError) -> Self {
        let code = refusal.code().unwrap_or_default();
        match (code.as_ref(), refusal.constraint()) {
            // Somebody was faster with one of the batch's tickets or keys: look again, and see it settled.
            ("23505", Some("bookings_pkey" | "bookings_idempotency")) => Self::Transient,
            (code, _) if BAD_DATA.contains(&code) => Self::BadData,
            (code, _) if OF_THE_SERVER.iter().any(|class| code.starts_with(class)) => Self::Systemic,
            _ => Self::Unexplained,
        }
    }
}
