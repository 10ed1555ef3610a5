//! Status polls of tickets that wait.

use anyhow::Result;
use hamro_e2e::figures::say;
use hamro_e2e::{Installation, Setup};
use sqlx::Row;

use crate::wrk;

pub async fn run() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    installation.expects_leftovers = true;
    let client = installation.client();
    let taken = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
    sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").execute(&installation.pool).await?;
    sqlx::raw_sql("SELECT pg_stat_statements_reset()").execute(&installation.pool).await?;
    let rate = wrk::rate(&client.url(taken.location()?), None).await?;
    let statements = sqlx::query(
        "SELECT calls, query FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid \
         WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%' ORDER BY calls DESC",
    )
    .fetch_all(&installation.pool)
    .await?;
    let polls = rate * f64::from(wrk::SECONDS);
    say(format!(
        "polls: {rate:.0}/s behind the watermark (wanted 20000); what {polls:.0} of them asked the database:"
    ));
    for statement in statements {
        let (calls, query): (i64, String) = (statement.try_get("calls")?, statement.try_get("query")?);
        say(format!("polls:   {calls} × {}", query.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    installation.close().await
}
