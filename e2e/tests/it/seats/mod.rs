//! Seat maps: `/seats`.

mod follow_seats;
mod labels;
mod seat_map;
