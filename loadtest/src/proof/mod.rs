//! The proof that nothing was lost and nothing sold twice: all accepted tickets are followed to their end, and what
//! clients were told is compared with itself, with the seat map, with the tiers, and with the database.

mod catalogue;
mod database;
mod rules;
mod settle;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;

pub use settle::{drain, follow_all};

use crate::books::Books;
use crate::http::Client;
use crate::journal::Header;
use crate::violation::Violations;

/// What the proof has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    pub requests: u64,
    /// Tickets that were handed out, and how they ended.
    pub tickets: u64,
    pub confirmed: u64,
    pub rejected: u64,
    pub expired: u64,
    pub failed: u64,
    /// Requests of which no answer tells whether they had an effect.
    pub doubtful: u64,
    pub seats_sold: u64,
    pub seats: u64,
    /// How often a final status was read again from the instance that had reported it.
    #[serde(default)]
    pub read_again: u64,
    /// And from another instance, more than a second later.
    #[serde(default)]
    pub read_again_elsewhere: u64,
    /// Whether the database was asked too.
    pub by_sql: bool,
    pub violations: Violations,
    /// What could not be checked, and other things that whoever reads this should know.
    pub remarks: Vec<String>,
}

/// Checks everything, once no ticket is to be waited for any longer.
pub async fn prove(
    books: &Books,
    header: &Header,
    client: &Client,
    database: Option<&PgConnectOptions>,
) -> Proof {
    let mut proof = rules::check(&books.ledger(), header);
    catalogue::compare(&mut proof, books, header, client).await;
    match database {
        Some(options) => database::compare(&mut proof, books, header, options).await,
        None => proof.remarks.push("DATABASE_URL is not set: the database was not asked".to_owned()),
    }
    proof
}
