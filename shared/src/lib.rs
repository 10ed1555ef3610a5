//! What the intake and the workers share. `domain` knows nothing of the rest.

pub mod backoff;
pub mod config;
pub mod database;
pub mod domain;
pub mod faults;
pub mod healthcheck;
pub mod lifecycle;
pub mod output;
pub mod queue;
pub mod telemetry;
