//! An HTTP/1.1 client of one server, for load tests and end-to-end tests.
//!
//! It keeps its connections open and sends one request at a time on each, like as many browsers. The pool of a client
//! library would hide whether a request waited for a connection, and how many are open. Only `http://` is supported,
//! because encryption would cost the load generator CPU time. Redirects are not followed.

mod client;
mod error;
mod event_stream;
mod pool;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use error::RequestError;
pub use event_stream::{Event, EventStream};
pub use request::RequestBuilder;
pub use response::HttpResponse;
