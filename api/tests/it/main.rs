//! The HTTP contract.

mod compatibility;
mod openapi;
