//! Settles batches of bookings in Postgres.
//!
//! [`retry`] makes sure that a batch ends whatever the database answers: it retries, splits, sets aside, or halts, as
//! [`error_class`] and [`failure_limit`] say. [`transaction`] is one attempt: it locks the seats ([`seat_locks`], in the order of
//! [`lock_order`]), reads prior decisions, decides ([`allocation`], a pure function), and writes.

pub mod allocation;
pub mod batch;
pub mod error_class;
pub mod failure_limit;
mod fault_injection;
pub mod lock_order;
mod read;
mod results;
pub mod retry;
pub mod seat_locks;
pub mod stuck_seats;
pub mod transaction;
mod write;

/// Locks do not outlive their owner: the server takes them from a worker that has frozen, or whose machine has gone.
pub const SESSION_SETTINGS: &[(&str, &str)] = &[
    ("idle_in_transaction_session_timeout", "10s"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];
