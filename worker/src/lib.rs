//! The worker: consumes parcels of bookings from the intake queue and settles them in Postgres, one transaction per
//! batch.
//!
//! - [`pipeline`] consumes the queue: it prefetches parcels, passes batches to settlement, acknowledges and announces
//!   them.
//! - [`settlement`] decides on a batch and commits the outcomes. It opens no broker connection: of the queue it knows
//!   only the format of parcels and envelopes.
//! - [`recovery`] handles messages that left the normal path: parcels that killed workers, and parcels that reached no
//!   queue.
//! - [`audit`] compares seats, sales and counters in the background.
//! - [`dead_letters`] holds the operator's commands for bookings that could not be processed.
//! - [`readiness`] reports to orchestrators whether the worker works.
//! - [`metrics`] is what all of these count, and [`figures`] what heartbeats report of it.
//!
//! Imports run in one direction: `recovery` → `pipeline` → `settlement` → `readiness`; `audit` imports `pipeline` only.

pub mod audit;
pub mod config;
pub mod dead_letters;
pub mod figures;
pub mod metrics;
pub mod pipeline;
pub mod readiness;
pub mod recovery;
pub mod settlement;
