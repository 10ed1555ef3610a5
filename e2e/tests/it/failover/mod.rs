//! Failovers of Postgres under load: docs/RELIABILITY.md has the measurements. Each test has a primary and a standby of its
//! own.

mod lost_standby;
mod promotion;
mod standby_alone;
