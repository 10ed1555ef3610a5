//! How a worker settles bookings that it cannot settle at once.

mod set_aside;
mod stuck_seats;
