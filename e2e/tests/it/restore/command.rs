//! The command as an operator or a script sees it.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup};
use serde_json::Value;
use sqlx::postgres::PgPool;

use super::check;

async fn execute(pool: &PgPool, statements: &'static str) -> Result<()> {
    sqlx::raw_sql(statements).execute(pool).await?;
    Ok(())
}

#[tokio::test]
async fn the_exit_status_says_whether_something_is_wrong_and_a_repair_is_on_request() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.status, 201);
        let (status, printed, error) = check(deployment, &[]).await?;
        assert_eq!((status, error.as_str()), (Some(0), ""), "{printed}");
        assert!(printed.ends_with("Nothing is wrong.\n"), "{printed}");

        execute(
            &deployment.pool,
            "UPDATE ticket_tiers SET available = available - 1; SELECT setval('sales_id_seq', 1, false)",
        )
        .await?;
        for _ in 0..2 {
            let (status, printed, _) = check(deployment, &[]).await?;
            assert_eq!(status, Some(3));
            assert!(printed.contains("WRONG  sequences: sales_id_seq is at 0"), "{printed}");
            assert!(printed.contains("WRONG  tier-counters: 9 tiers"), "{printed}");
            assert!(printed.ends_with("2 problems, 2 of which --repair can repair.\n"), "{printed}");
        }
        let (status, printed, _) = check(deployment, &["--json"]).await?;
        let found: Value = serde_json::from_str(&printed)?;
        assert_eq!(
            (status, found["problems"][0]["rule"].as_str()),
            (Some(3), Some("sequences")),
            "{printed}"
        );
        assert_eq!(found["problems"][0]["repair"]["kind"], "sequence");

        // While the programs run.
        let (status, printed, _) = check(deployment, &["--repair"]).await?;
        assert_eq!(status, Some(0), "{printed}");
        assert!(
            printed.starts_with("DONE   moved sales_id_seq to 1\nDONE   counted the seats of 9 tiers\n"),
            "{printed}"
        );
        assert_eq!(client.book_seats("bob", &seats[2..4]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_failure_and_no_finding() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let variables =
            deployment.environment(&[("DATABASE_URL", "postgres://hamro:secret@127.0.0.1:1/hamro")]);
        let output = hamro_e2e::process::Process::output("hamro-api", &["check"], &variables).await?;
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr)?.contains("the database cannot be reached"));
        // It was never migrated.
        let (status, printed, _) = check(deployment, &[]).await?;
        assert_eq!(status, Some(3));
        assert!(printed.contains("WRONG  schema: this database has no schema"), "{printed}");
        Ok(())
    })
    .await
}
