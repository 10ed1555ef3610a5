//! Seat maps: `/seats`.

mod catalogue_events;
mod follow_seats;
mod labels;
mod seat_map;
