//! An HTTP client of one server, for load tests and end-to-end tests.
//!
//! It keeps its connections open and sends one request at a time on each, like as many browsers. The pool of a client
//! library would hide whether a request waited for a connection, and how many are open. Encryption would cost the load
//! generator CPU time, so only tests of proxies use TLS, with HTTP/2. Redirects are not followed.

mod client;
mod connection;
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
