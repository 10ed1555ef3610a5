//! Classifies errors: is a retry worthwhile, and is the session still usable?

use std::borrow::Cow;

use sqlx::Error;
use sqlx::error::DatabaseError;

/// Whether the same statement may soon succeed, possibly on another session: the server is unreachable, starting up,
/// shutting down, a standby or full, this session is unusable, or another session is in the way.
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => true,
        Error::Database(database_error) => {
            let code = code(database_error.as_ref());
            is_session_error(&code) || is_temporary(&code)
        }
        _ => false,
    }
}

/// Whether the database rejects a statement because of its own state, which an operator has to repair: an exhausted or
/// outdated sequence, a full disk, a broken index. A request cannot cause these errors: its values are validated
/// before, and its handler knows by name the constraints that it can violate.
pub fn needs_repair(error: &Error) -> bool {
    let Error::Database(database_error) = error else { return false };
    let code = code(database_error.as_ref());
    ["22", "23", "53", "54", "55", "58", "F0", "XX"].iter().any(|class| code.starts_with(class))
}

/// Whether the session that returned this error must be discarded.
///
/// A session is kept after a serialization failure, a deadlock, a lock timeout or a constraint violation. These are
/// part of normal work, and a new session for each would turn contention into a storm of connections.
pub fn is_session_lost(error: &Error) -> bool {
    match error {
        Error::Database(database_error) => is_session_error(&code(database_error.as_ref())),
        // The response was read to its end.
        Error::RowNotFound
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnDecode { .. }
        | Error::Decode(_) => false,
        _ => true,
    }
}

/// Why no session could be opened. It travels inside [`Error::Io`], because callers treat it like a lost connection: a
/// running process tries again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{reason}", address.as_ref().map(|address| format!("Postgres at {address}: ")).unwrap_or_default())]
pub(super) struct OpenError {
    address: Option<String>,
    reason: String,
    is_refusal: bool,
}

impl OpenError {
    /// `address` is the server's.
    pub fn of(address: &str, error: &Error) -> Self {
        let address = Some(address.to_owned());
        match error {
            Error::Io(error) => match error.get_ref().and_then(|error| error.downcast_ref::<Self>()) {
                Some(Self { reason, is_refusal, .. }) => {
                    Self { address, reason: reason.clone(), is_refusal: *is_refusal }
                }
                None => Self { address, reason: error.to_string(), is_refusal: false },
            },
            Error::Database(error) => {
                let (reason, advice) = (error.message(), advice(&code(error.as_ref()), error.message()));
                let text = advice.map(|advice| format!("{reason}: {advice}"));
                Self {
                    address,
                    is_refusal: advice.is_some(),
                    reason: text.unwrap_or_else(|| reason.to_owned()),
                }
            }
            error => Self { address, reason: error.to_string(), is_refusal: false },
        }
    }

    /// Of several servers, none can be used. Only if all refuse this process, an operator has to act.
    pub fn of_all(mut errors: Vec<Self>) -> Self {
        if errors.len() == 1 {
            return errors.remove(0);
        }
        let is_refusal = errors.iter().all(|error| error.is_refusal);
        let reasons: Vec<_> = errors.iter().map(Self::to_string).collect();
        Self { address: None, reason: reasons.join("; "), is_refusal }
    }

    /// A pooler lends each session to one client after another.
    pub fn shared_sessions(mode: &str) -> Self {
        let reason = format!(
            "DATABASE_URL leads to a PgBouncer (or a similar pooler) with pool_mode={mode}: use session pooling \
             (pool_mode=session)"
        );
        Self { address: None, reason, is_refusal: true }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Io(std::io::Error::other(error))
    }
}

/// Whether the server refuses this process for a reason that an operator has to remove: a wrong user name, password or
/// database, or a pooler that shares sessions.
pub fn is_refusal(error: &Error) -> bool {
    let Error::Io(error) = error else { return false };
    error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(|error: &OpenError| error.is_refusal)
}

/// What an operator has to do if the server refuses this process for good. PgBouncer reports all of its own errors, and
/// those of the server behind it, as 08P01.
fn advice(code: &str, message: &str) -> Option<&'static str> {
    const REFUSALS: [&str; 5] = [
        "password authentication failed",
        "SASL authentication failed",
        "no such user",
        "no such database",
        "does not exist",
    ];
    // invalid_password, invalid_authorization_specification and invalid_catalog_name.
    let refuses_login = match code {
        "28P01" | "28000" | "3D000" => true,
        "08P01" => REFUSALS.iter().any(|text| message.contains(text)),
        _ => false,
    };
    if refuses_login && message.contains("client certificate") {
        Some("name one in the parameters sslcert and sslkey of DATABASE_URL")
    } else if refuses_login && message.contains("no encryption") {
        Some("set sslmode=verify-full in DATABASE_URL, or let unencrypted connections in (pg_hba.conf)")
    } else if refuses_login {
        Some("correct DATABASE_URL, or the server's users and databases")
    } else if message.contains("unsupported startup parameter") {
        Some("remove the parameter from DATABASE_URL, or add it to PgBouncer's ignore_startup_parameters")
    } else {
        None
    }
}

/// An error of our own: the server did not respond in time, or is unusable.
pub(super) fn unavailable(reason: &str) -> Error {
    Error::Io(std::io::Error::other(reason.to_owned()))
}

/// A commit would wait for a standby that is not there.
pub fn commits_are_blocked() -> Error {
    unavailable("commits wait for a synchronous standby")
}

/// The work was on a server that another one has replaced.
pub fn server_replaced() -> Error {
    unavailable("another server has replaced this one")
}

fn code(database_error: &dyn DatabaseError) -> Cow<'_, str> {
    database_error.code().unwrap_or_default()
}

fn is_temporary(code: &str) -> bool {
    // serialization_failure, deadlock_detected, lock_not_available, query_canceled, too_many_connections.
    matches!(code, "40001" | "40P01" | "55P03" | "57014" | "53300")
}

/// SQLSTATEs that mean that this session is unusable.
fn is_session_error(code: &str) -> bool {
    // 25006: read-only, as after a failover. 0A000: a cached plan whose result type has changed. 26000 and 42P05: a
    // prepared statement that is missing or already exists, as behind a pooler. 25P0x: the session is inside an
    // unexpected transaction, or was closed because of one. 57P0x: the server is shutting down or starting up. 08: a
    // connection error.
    matches!(code, "25006" | "0A000" | "26000" | "42P05")
        || ["25P0", "57P0", "08"].iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contention_is_temporary_and_keeps_the_session() {
        for code in ["40001", "40P01", "55P03", "57014"] {
            assert!(is_temporary(code) && !is_session_error(code), "{code}");
        }
    }

    #[test]
    fn a_login_that_can_never_succeed_is_a_refusal_also_behind_a_pooler() {
        for (code, message) in [
            ("28P01", "password authentication failed for user \"u\""),
            ("28000", "no pg_hba.conf entry"),
            ("3D000", "database \"x\" does not exist"),
            ("08P01", "password authentication failed"),
            ("08P01", "no such database: x"),
            ("08P01", "unsupported startup parameter: options"),
            ("08P01", "server login failed: FATAL database \"x\" does not exist"),
        ] {
            assert!(advice(code, message).is_some(), "{message}");
        }
        for (code, message) in [
            ("57P03", "the database system is starting up"),
            ("53300", "sorry, too many clients already"),
            ("08P01", "pgbouncer cannot connect to server"),
            ("08P01", "query_wait_timeout"),
        ] {
            assert!(advice(code, message).is_none(), "{message}");
        }
    }

    #[test]
    fn errors_of_an_unusable_session_discard_it() {
        for code in ["25006", "25P02", "25P03", "0A000", "26000", "42P05", "57P01", "57P03", "08006", "08P01"]
        {
            assert!(is_session_error(code), "{code}");
        }
        for code in ["23505", "22021", "25001", "42703", "53300"] {
            assert!(!is_session_error(code), "{code}");
        }
    }
}
