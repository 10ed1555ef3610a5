//! The end-to-end tests. The modules mirror the URL tree of the api (`bookings`, `catalogue`, `seats`, `queue`, `http`,
//! `booking_page`, `ops`), the stages of a worker (`pipeline`, `settlement`, `recovery`, `dead_letters`), the servers that
//! the programs use (`database`, `broker`, `tls`), and what operators see (`logs`, `metrics`).
//!
//! `failover` has servers of its own. `outages`, `faults::servers` and `faults::chaos` stop servers that all tests share, so their tests run alone: see
//! `.config/nextest.toml`.

mod audit;
mod booking_page;
mod bookings;
mod broker;
mod canary;
mod catalogue;
mod database;
mod dead_letters;
mod deployment;
mod doctor;
mod documentation;
mod early_rejection;
mod failover;
mod faults;
mod http;
mod key_rotation;
mod logs;
mod metrics;
mod ops;
mod outages;
mod person;
mod pipeline;
mod processes;
mod queue;
mod recovery;
mod restore;
mod rolling_restart;
mod seats;
mod secret_files;
mod settings;
mod settlement;
mod ticket;
mod tls;
mod traces;
