//! How a worker receives and batches bookings.

mod batches;
mod prefetch;
