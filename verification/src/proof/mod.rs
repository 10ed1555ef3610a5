//! Verifies that nothing was lost and nothing was sold twice. All accepted tickets are followed until they are final.
//! The responses are checked for consistency and compared with the seat map, the tiers and the database.

mod bookings;
mod catalogue;
mod context;
mod database;
mod follow_up;
pub mod joint;
mod refusals;
mod responses;
mod sales;
mod stored;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;

pub use context::{Deadlines, RunFacts, SERVER_CLOCK_ERROR};
pub use follow_up::{drain, follow_all};

use crate::catalogue::wait_until_current;
use crate::http::Client;
use crate::invariant::{Invariant, Source, Violations};
use crate::journal::Header;
use crate::run_log::RunLog;
use context::{Buyers, CheckContext};
use database::Comparison;

/// The result of the verification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

impl Proof {
    /// The rules that the load generator has checked.
    pub fn checked(&self) -> impl Iterator<Item = Invariant> {
        let by_sql = self.by_sql;
        Invariant::ALL.into_iter().filter(move |rule| match rule.source() {
            Source::Responses => true,
            Source::Database => by_sql,
            Source::Deadlines | Source::Servers => false,
        })
    }
}

/// Checks all rules, after tickets have been followed.
pub async fn prove(
    run_log: &RunLog,
    header: &Header,
    client: &Client,
    database: Option<&PgConnectOptions>,
    facts: &RunFacts,
) -> Proof {
    let buyers = &Buyers::of(&run_log.request_log());
    let mut proof = {
        let request_log = &run_log.request_log();
        responses::check(CheckContext { request_log, buyers, header, facts })
    };
    wait_until_current().await;
    catalogue::compare(&mut proof, run_log, header, client, facts).await;
    match database {
        Some(options) => {
            let comparison = Comparison { run_log, header, buyers, facts };
            database::compare(&mut proof, &comparison, options).await;
        }
        None => proof.remarks.push(
            "DATABASE_URL is not set: the database and the times of refusals were not checked".to_owned(),
        ),
    }
    proof
}

#[cfg(test)]
mod tests;
