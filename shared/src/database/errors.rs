//! What an error says about the next try, and about the session that met it.

use std::borrow::Cow;

use sqlx::Error;
use sqlx::error::DatabaseError;

/// Whether the same statement may well succeed in a moment, if need be on another session: the server cannot be reached, is
/// starting up, shutting down, standing by or full, this session is of no use, or somebody else is in the way.
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => true,
        Error::Database(refusal) => {
            let code = code(refusal.as_ref());
            condemns_session(&code) || passes(&code)
        }
        _ => false,
    }
}

/// Whether the database refuses a statement for the state that it is in, and somebody has to repair it: a sequence that has run
/// out or lies behind, a full disk, an index that is broken. What a request brings has been checked before, and the constraints
/// that it can violate are known by name where it is handled.
pub fn needs_repair(error: &Error) -> bool {
    let Error::Database(refusal) = error else { return false };
    let code = code(refusal.as_ref());
    ["22", "23", "53", "54", "55", "58", "F0", "XX"].iter().any(|class| code.starts_with(class))
}

/// Whether the session that met this error must not be used again.
///
/// It must be kept on a serialization failure, a deadlock, a lock time-out and a violated constraint: these are part of
/// normal work, and a new session for each of them would turn contention into a storm of connections.
pub fn is_session_lost(error: &Error) -> bool {
    match error {
        Error::Database(refusal) => condemns_session(&code(refusal.as_ref())),
        // The server has answered, and the answer was read to its end.
        Error::RowNotFound
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnDecode { .. }
        | Error::Decode(_) => false,
        _ => true,
    }
}

/// An error that the server did not send, because it did not answer in time or cannot be used.
pub(super) fn unavailable(reason: &str) -> Error {
    Error::Io(std::io::Error::other(reason.to_owned()))
}

fn code(refusal: &dyn DatabaseError) -> Cow<'_, str> {
    refusal.code().unwrap_or_default()
}

fn passes(code: &str) -> bool {
    // serialization_failure, deadlock_detected, lock_not_available, query_canceled, too_many_connections.
    matches!(code, "40001" | "40P01" | "55P03" | "57014" | "53300")
}

/// SQLSTATEs that mean "not on this session".
fn condemns_session(code: &str) -> bool {
    // 25006: read-only, as after a failover. 0A000: a cached plan whose result type has changed. 26000 and 42P05: a prepared
    // statement that is missing, or there already, as behind a pooler. 25P0x: the session is inside a transaction that it
    // should not be in, or was ended for one. 57P0x: the server shuts down or starts up. 08: the connection.
    matches!(code, "25006" | "0A000" | "26000" | "42P05")
        || ["25P0", "57P0", "08"].iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contention_is_transient_and_keeps_the_session() {
        for code in ["40001", "40P01", "55P03", "57014"] {
            assert!(passes(code) && !condemns_session(code), "{code}");
        }
    }

    #[test]
    fn a_session_that_cannot_work_is_condemned() {
        for code in ["25006", "25P02", "25P03", "0A000", "26000", "42P05", "57P01", "57P03", "08006", "08P01"]
        {
            assert!(condemns_session(code), "{code}");
        }
        for code in ["23505", "22021", "25001", "42703", "53300"] {
            assert!(!condemns_session(code), "{code}");
        }
    }
}
