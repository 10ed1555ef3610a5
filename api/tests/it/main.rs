//! The HTTP contract, and the commands that need only Postgres.

mod check;
mod compatibility;
mod intake_controls;
mod openapi;
