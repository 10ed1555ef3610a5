//! A person's data: the commands `hamro-api person` and the retention period.

mod erase;
mod export;
mod retention;

use anyhow::{Result, ensure};
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

/// Contains `_` and `%`, which are wildcards of LIKE.
const ADDRESS: &str = "zenobia_%@example.com";

/// Texts that must be gone everywhere, in lower case.
const TRACES: [&str; 2] = ["zenobia_%@example.com", "zenobia quartz"];

fn booking(name: &str, address: &str, seats: &[i64]) -> Value {
    json!({"userName": name, "userEmail": address, "seatIds": seats})
}

/// A dead letter is logged as an error.
fn with_dead_letters() -> Setup {
    Setup { expects_errors: true, ..Setup::queueing() }
}

/// The columns that contain this text.
async fn columns_with(pool: &PgPool, text: &str) -> Result<Vec<String>> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'bytea', 'json', 'jsonb')",
    )
    .fetch_all(pool)
    .await?;
    ensure!(columns.len() > 10, "{columns:?}");
    let mut found = Vec::new();
    for (table, column, data_type) in columns {
        let value = if data_type == "bytea" {
            format!("encode({column}, 'escape')")
        } else {
            format!("{column}::text")
        };
        let query = format!("SELECT count(*) FROM {table} WHERE position($1 IN lower({value})) > 0");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(query)).bind(text).fetch_one(pool).await?;
        if count > 0 {
            found.push(format!("{table}.{column}"));
        }
    }
    Ok(found)
}

/// Publishes two unreadable messages of the person, and returns the numbers of their dead letters.
async fn unreadable(deployment: &Deployment) -> Result<Vec<i64>> {
    for seat in [1, 2] {
        let request = booking("Zenobia Quartz", ADDRESS, &[seat]);
        let envelope = json!({"v": 1, "kind": format!("for {ADDRESS}"), "request": request});
        deployment.publish(json!([envelope]).to_string().as_bytes()).await?;
    }
    deployment.drained().await?;
    Ok(sqlx::query_scalar("SELECT id FROM dead_letters ORDER BY id").fetch_all(&deployment.pool).await?)
}

async fn discard(deployment: &Deployment, id: i64, because: &str) -> Result<()> {
    let arguments = ["dead-letters", "discard", &id.to_string(), "--because", because];
    let output = Process::output("hamro-worker", &arguments, &deployment.environment(&[])).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// Runs `hamro-api` with these arguments. Returns its exit status, and what it printed to stdout and stderr.
async fn hamro_api(deployment: &Deployment, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = Process::output("hamro-api", arguments, &deployment.environment(&[])).await?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}
