//! HTTP building blocks of the endpoints: what a request is parsed with, and what a response is made of.
//!
//! Nothing here knows of bookings, of the broker or of the database.

pub mod admin_auth;
pub mod etag;
pub mod extract;
pub mod large_responses;
pub mod openapi;
pub mod pagination;
pub mod prefer;
pub mod problem;
pub mod retry_after;
pub mod sse;
