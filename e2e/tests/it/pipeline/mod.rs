//! How a worker receives and batches bookings.

mod batches;
mod consumer_watchdog;
mod messages;
mod prefetch;
