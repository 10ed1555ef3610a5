//! Status polls of tickets that wait.

use anyhow::Result;
use hamro_e2e::stats::print;
use hamro_e2e::{Deployment, Setup};
use sqlx::Row;

use crate::wrk;

pub async fn run() -> Result<()> {
    let setup = Setup { workers: 0, expects_leftovers: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let taken = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        deployment.run_as_superuser("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        deployment.run_as_superuser("SELECT pg_stat_statements_reset()").await?;
        let rate = wrk::rate(&client.url(taken.location()?), None).await?;
        let statements = sqlx::query(
            "SELECT calls, query FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid \
             WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%' ORDER BY calls DESC",
        )
        .fetch_all(&deployment.pool)
        .await?;
        let polls = rate * f64::from(wrk::SECONDS);
        print(format!(
            "polls: {rate:.0}/s behind the watermark (wanted 20000); what {polls:.0} of them asked the database:"
        ));
        for statement in statements {
            let (calls, query): (i64, String) = (statement.try_get("calls")?, statement.try_get("query")?);
            print(format!("polls:   {calls} × {}", query.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        Ok(())
    })
    .await
}
