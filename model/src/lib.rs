//! Models of the protocol between clients, api instances, the queue, workers and the database, small enough to visit
//! every state.
//!
//! Each model is one part of the protocol with what can go wrong there. It decides with the product's own pure
//! functions where there are any.
//!
//! - [`settlement`]: redelivery, duplicates, two batches at a time, rollback and retry.
//! - [`early_rejection`]: idempotency keys, early rejection and released seats.
//! - [`status_reads`]: what several instances report about one ticket.
//! - [`deadlines`]: deadlines, the fence, and clocks that differ.
//!
//! `tests/models` explores each model, and then once more without each of its rules. Each time the checker must find a
//! violation: the rule is needed, and the model can show it.

pub mod bookings;
pub mod check;
pub mod deadlines;
pub mod early_rejection;
pub mod settlement;
pub mod status_reads;
