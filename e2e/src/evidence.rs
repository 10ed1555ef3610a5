//! The final state of a test: the journal of the clients, and the contents of the database and the queues.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::journal::{Entry, Standing};
use crate::{Deployment, ledger, wait_until};

/// All data that the checker uses.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub journal: Vec<Entry>,
    pub bookings: Vec<Settled>,
    pub sales: Vec<Sale>,
    /// Broken consistency rules of the database.
    pub imbalances: Vec<String>,
    pub dead_letters: i64,
    pub deadlocks: i64,
    /// Transactions that have been open for too long.
    pub forgotten_transactions: i64,
    /// The names of the queues that are not empty, and their numbers of messages.
    pub left: Vec<(String, u32)>,
    /// How long after the end of the fault a new booking was settled.
    pub recovery: Duration,
}

/// A row of `bookings`.
#[derive(Clone, Debug)]
pub struct Settled {
    pub ticket: Uuid,
    pub customer: Option<String>,
    pub standing: Standing,
    pub settled_at_millis: i64,
    /// The seats that a rejection reports as taken.
    pub taken: Vec<i64>,
}

/// A live sale.
#[derive(Clone, Debug)]
pub struct Sale {
    pub id: i64,
    pub customer: String,
    pub seats: Vec<i64>,
}

impl Evidence {
    /// Waits until the workers have settled everything, stops them, and reads the final state.
    pub async fn gather(
        deployment: &mut Deployment,
        journal: Vec<Entry>,
        recovery: Duration,
    ) -> Result<Self> {
        let forgotten_transactions = forgotten_transactions(&deployment.pool).await?;
        left_in_queues(deployment).await?;
        deployment.drain_and_stop_workers().await?;
        let pool = &deployment.pool;
        Ok(Self {
            journal,
            bookings: bookings(pool).await?,
            sales: sales(pool).await?,
            imbalances: ledger::imbalances(pool).await?,
            dead_letters: ledger::count(pool, "dead_letters").await?,
            deadlocks: ledger::deadlocks(pool).await?,
            forgotten_transactions,
            left: left_in_queues(deployment).await?,
            recovery,
        })
    }
}

async fn forgotten_transactions(pool: &PgPool) -> Result<i64> {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND pid <> pg_backend_pid() AND xact_start < now() - interval '3 seconds'";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

async fn bookings(pool: &PgPool) -> Result<Vec<Settled>> {
    type Row = (Uuid, Option<String>, String, Option<i64>, Option<String>, i64, Option<Value>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT ticket_id, user_name, status, sale_id, rejection->>'code',
                (extract(epoch FROM settled_at) * 1000)::bigint, rejection->'seatIds'
         FROM bookings",
    )
    .fetch_all(pool)
    .await?;
    let settled = |(ticket, customer, status, sale, reason, settled_at_millis, seats): Row| {
        let is_taken = matches!(reason.as_deref(), Some("seats-taken" | "sold-out"));
        let taken = seats.filter(|_| is_taken).and_then(|seats| serde_json::from_value(seats).ok());
        let standing = Standing { status, sale, reason };
        Settled { ticket, customer, standing, settled_at_millis, taken: taken.unwrap_or_default() }
    };
    Ok(rows.into_iter().map(settled).collect())
}

async fn sales(pool: &PgPool) -> Result<Vec<Sale>> {
    let rows: Vec<(i64, String, Vec<i32>)> = sqlx::query_as(
        "SELECT sale.id, sale.user_name, array_agg(seat.seat_id ORDER BY seat.position)
         FROM sales sale JOIN sale_seats seat ON seat.sale_id = sale.id AND seat.released_at IS NULL
         GROUP BY sale.id",
    )
    .fetch_all(pool)
    .await?;
    let sale = |(id, customer, seats): (i64, String, Vec<i32>)| Sale {
        id,
        customer,
        seats: seats.into_iter().map(i64::from).collect(),
    };
    Ok(rows.into_iter().map(sale).collect())
}

/// Waits for the queues to become empty, and returns what is left in them after the timeout.
async fn left_in_queues(deployment: &Deployment) -> Result<Vec<(String, u32)>> {
    let topology = &deployment.topology;
    let queues = [topology.intake_queue(), topology.dead_queue(), topology.unrouted_queue()];
    let mut left = Vec::new();
    let _ = wait_until("the queues are empty", async || {
        left.clear();
        for queue in &queues {
            match deployment.messages_in(queue).await? {
                0 => {}
                messages => left.push((queue.clone(), messages)),
            }
        }
        Ok(left.is_empty().then_some(()))
    })
    .await;
    Ok(left)
}
