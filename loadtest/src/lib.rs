//! A load generator that simulates a ticket sale and verifies that the system lost nothing and sold no seat twice.
//!
//! A run prepares concerts ([`concert`]) and starts [`buyers`] at their due times ([`schedule`], [`pacer`]). Each buyer
//! acts according to the [`scenario`] with the shared state of the run ([`stage`]). Latencies are measured from the due
//! time ([`meter`]), and every response is recorded ([`journal`], [`ledger`]). At the end all tickets are followed
//! until they are final, the rules are checked ([`proof`]), and the run is reported ([`report`]).

pub mod arguments;
mod books;
mod buyers;
pub mod ceiling;
pub mod compare;
mod concert;
mod flood;
mod follow;
mod http;
mod instance;
mod interrupt;
mod journal;
mod ledger;
mod machine;
mod meter;
mod pacer;
mod processes;
mod proof;
pub mod report;
pub mod run;
mod sampler;
mod scenario;
mod schedule;
mod stage;
mod status_read;
pub mod verify;
mod violation;
mod wire;
