//! Bookings outside the intake queue.

mod poison;
