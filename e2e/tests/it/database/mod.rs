//! The use of Postgres: sessions, clocks and stored rows.

mod clocks;
mod sessions;
mod stored_rows;
