//! The worker: takes parcels of bookings from the queue and settles them in Postgres, one transaction a batch.
//!
//! `consumer` receives and acknowledges, `batch` is what it settles together, `settling` has two of them in hand, `settler`
//! sees to it that a batch ends whatever the database says, `settlement` is the transaction, and `allocation` the pure rules
//! inside it.
//!
//! A booking that fails alone is set aside: `requeue` publishes it again, and `brake` limits how many may in a row.
//!
//! What has strayed from that way is brought to its end by `reaper` and `rerouter`; what could not be processed is kept,
//! and `dead_letters` is how an operator decides on it.

pub mod allocation;
mod alone;
pub mod announcer;
pub mod batch;
pub mod brake;
pub mod config;
pub mod consumer;
pub mod dead_letters;
pub mod failure;
mod forgotten;
pub mod readiness;
pub mod reaper;
pub mod receiving;
pub mod requeue;
pub mod rerouter;
pub mod settlement;
pub mod settler;
pub mod settling;
pub mod stuck_seats;
pub mod turn;
