//! Code that the api and the workers share. `domain` depends on no other module.

pub mod audit;
pub mod backoff;
pub mod canary;
pub mod config;
pub mod database;
pub mod dead_letters;
pub mod domain;
pub mod epoch;
pub mod faults;
pub mod healthcheck;
pub mod lifecycle;
pub mod output;
pub mod process_name;
pub mod queue;
pub mod telemetry;
pub mod tls;
