//! HTTP building blocks for the endpoints: they parse requests and build responses.
//!
//! Nothing here depends on the broker, the outcomes, the seat feed or an endpoint.

pub mod admin_auth;
pub mod bound;
pub mod bound_metrics;
pub mod client_address;
pub mod created;
pub mod etag;
pub mod extract;
pub mod field;
pub mod if_match;
pub mod keyed_body;
pub mod openapi;
pub mod own_writes;
pub mod pagination;
pub mod prefer;
pub mod problem;
pub mod ready_body;
pub mod response_memory;
pub mod retry_after;
pub mod sse;
