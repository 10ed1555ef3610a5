//! The HTTP contract.

mod openapi;
