//! Bookings: `/ticket-bookings`.

mod contention;
mod customer_limit;
mod customers;
mod deletions;
mod expected_total;
mod expiry;
mod follow_booking;
mod idempotency;
mod invalid_requests;
mod lost_confirms;
mod outcomes;
mod releases;
mod typescript_client;
mod unfinished_releases;

pub use idempotency::book_under_key;
