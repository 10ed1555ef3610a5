//! From the intake queue to settlement and back: consume, settle, acknowledge, announce.
//!
//! [`consumer`] drives a channel. [`prefetch`] receives and decodes ahead of it, [`in_flight`] settles two batches at a
//! time in the order of arrival, and [`consumer_watchdog`] detects a broker that has stopped delivering.
//! [`outcome_publisher`] announces outcomes to the api instances, and tells them the worker's [`workload`]. [`requeue`]
//! republishes single bookings ([`isolated_booking`]) that were set aside or deferred.

mod acknowledgement;
pub mod consumer;
mod consumer_watchdog;
#[cfg(feature = "faults")]
mod fault_injection;
pub mod in_flight;
pub mod isolated_booking;
pub mod outcome_publisher;
mod prefetch;
pub mod requeue;
pub mod workload;
