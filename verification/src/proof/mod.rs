//! Verifies that nothing was lost and nothing was sold twice. All accepted tickets are followed until they are final.
//! What clients were told is checked for consistency and compared with the seat map, the tiers and the database.

mod catalogue;
mod database;
mod follow_up;
mod responses;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;

pub use follow_up::{drain, follow_all};

use crate::http::Client;
use crate::invariant::Violations;
use crate::journal::Header;
use crate::run_log::RunLog;

/// The result of the verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    pub requests: u64,
    /// Issued tickets, followed by the numbers of each outcome.
    pub tickets: u64,
    pub confirmed: u64,
    pub rejected: u64,
    pub expired: u64,
    pub failed: u64,
    /// Requests that may have had an effect that no response reports.
    #[serde(alias = "doubtful")]
    pub ambiguous: u64,
    pub seats_sold: u64,
    pub seats: u64,
    /// Final statuses read again from the instance that had reported them.
    #[serde(default)]
    pub read_again: u64,
    /// Final statuses read again from another instance, more than a second later.
    #[serde(default)]
    pub read_again_elsewhere: u64,
    /// Whether the database was checked too.
    pub by_sql: bool,
    pub violations: Violations,
    /// Notes, such as checks that were not possible.
    pub remarks: Vec<String>,
}

/// Checks all rules, after tickets have been followed.
pub async fn prove(
    run_log: &RunLog,
    header: &Header,
    client: &Client,
    database: Option<&PgConnectOptions>,
) -> Proof {
    let mut proof = responses::check(&run_log.request_log(), header);
    catalogue::compare(&mut proof, run_log, header, client).await;
    match database {
        Some(options) => database::compare(&mut proof, run_log, header, options).await,
        None => proof.remarks.push("DATABASE_URL is not set: the database was not checked".to_owned()),
    }
    proof
}
