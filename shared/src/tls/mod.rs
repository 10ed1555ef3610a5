//! What TLS connections to Postgres and RabbitMQ have in common: files of certificates and keys, and what to change when
//! a connection fails because of them.

pub mod files;
mod problem;

pub use self::problem::{Names, TlsProblem};
