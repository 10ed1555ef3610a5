//! Seat maps: `/seats`.

mod follow_seats;
mod seat_map;
