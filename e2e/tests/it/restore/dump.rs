//! A dump that is restored over the database, while all programs run.

use std::process::Command;

use anyhow::Result;
use hamro_e2e::outage::run_aside;
use hamro_e2e::{Deployment, Setup};

use super::{check, wait_until_seats_are_free};

#[tokio::test]
async fn a_dump_that_is_restored_while_programs_run_keeps_what_it_has_and_sells_the_rest_again() -> Result<()>
{
    // For a moment, there are no tables.
    let setup = Setup { workers: 2, expects_errors: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let kept = client.book_seats("alice", &seats[..2]).await?;
        let dump = std::env::temp_dir().join(format!("{}.dump", deployment.name()));
        let url = deployment
            .environment(&[])
            .into_iter()
            .find_map(|(name, value)| (name == "DATABASE_URL").then_some(value))
            .unwrap_or_default();
        let mut command = Command::new("pg_dump");
        command.args(["--format=custom", "--dbname", &url, "--file"]).arg(&dump);
        run_aside(command).await?;
        let lost = client.book_seats("bob", &seats[2..4]).await?;
        assert_eq!((kept.status, lost.status), (201, 201));

        let mut command = Command::new("pg_restore");
        command
            .args(["--clean", "--if-exists", "--no-owner", "--single-transaction", "--dbname", &url])
            .arg(&dump);
        let restored = run_aside(command).await;
        std::fs::remove_file(&dump)?;
        restored?;
        let (status, printed, error) = check(deployment, &["--after-restore"]).await?;
        assert_eq!(status, Some(0), "{printed}{error}");
        deployment.apis[0].process.line_after("the database has a new epoch").await?;

        assert_eq!(client.book_seats("carol", &seats[1..3]).await?.code(), "seats-taken");
        wait_until_seats_are_free(deployment).await?;
        let again = client.book_seats("carol", &seats[2..4]).await?;
        assert_eq!(again.status, 201, "{again:?}");
        assert_ne!(again.body["id"], lost.body["id"]);
        Ok(())
    })
    .await
}
