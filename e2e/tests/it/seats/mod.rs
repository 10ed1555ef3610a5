//! Seat maps: `/seats`.

mod follow_seats;
