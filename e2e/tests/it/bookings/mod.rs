//! Bookings: `/ticket-bookings`.

mod follow_booking;
mod invalid_requests;
mod lost_confirms;
mod outcomes;
mod typescript_client;
