//! Settles batches of bookings in Postgres.
//!
//! [`executor`] makes sure that a batch ends, whatever error the database returns. By [`error_class`] and
//! [`failure_limit`] it retries, splits, sets bookings aside, or *halts*: it pauses and retries until the fault is
//! gone. [`transaction`] is one attempt: it locks the seats ([`seat_locks`], one batch at a time, in the order of
//! [`lock_order`]), reads prior decisions, counts what customers hold where that is limited ([`customer_limit`]), decides
//! ([`allocation`], a pure function), and writes the [`results`].
//! [`announced_sales`] is what instances that reject early learn of it. [`batch_spans`] makes a batch a part of the traces of its bookings.

pub mod allocation;
mod announced_sales;
pub mod batch;
pub mod batch_spans;
pub mod customer_limit;
pub mod error_class;
pub mod executor;
pub mod failure_limit;
#[cfg(feature = "faults")]
mod fault_injection;
pub mod lock_order;
mod read;
mod results;
pub mod seat_locks;
pub mod stuck_seats;
pub mod transaction;
mod write;

/// Session settings of a worker. The server ends the transaction of a worker that is frozen or whose machine has
/// failed, so that its locks are released.
pub const SESSION_SETTINGS: &[(&str, &str)] = &[
    ("idle_in_transaction_session_timeout", "10s"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];
