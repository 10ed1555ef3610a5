//! Messages that left the normal path through the intake queue.
//!
//! [`poison`] settles the bookings of parcels with which workers died, one at a time. [`unrouted`] forwards parcels
//! that were confirmed while the intake queue did not exist.

pub mod poison;
pub mod unrouted;
