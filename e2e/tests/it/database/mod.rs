//! The use of Postgres: logins, poolers, sessions, clocks and stored rows.

mod clocks;
mod logins;
mod pgbouncer;
mod sessions;
mod stored_rows;
