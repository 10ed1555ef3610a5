//! What must hold after a sale, whatever happened during it, and how that is recorded and checked.
//!
//! The load generator and the fault tests use it alike. Clients send requests and follow tickets
//! ([`recorded_client`], [`http`], [`follow`]). Every response is recorded in a journal file and in memory ([`run_log`],
//! [`journal`], [`request_log`]). At the end all tickets are followed until they are final, and the invariants
//! ([`invariant`]) are checked against the responses, the catalogue and the database ([`proof`], [`consistency`]).

pub mod baseline;
pub mod catalogue;
pub mod consistency;
pub mod contract;
pub mod database_clock;
pub mod follow;
pub mod http;
pub mod instance;
pub mod invariant;
pub mod journal;
pub mod machine;
pub mod processes;
pub mod proof;
pub mod recorded_client;
pub mod request_log;
pub mod run_log;
pub mod status_read;
