//! The programs behind a PgBouncer.

use anyhow::Result;
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};

use super::printed_by_failing;

#[tokio::test]
async fn a_booking_is_settled_through_a_pgbouncer_with_session_pooling_and_no_other_settings() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let pooler = deployment.pgbouncer("pool_mode = session").await?;
        let variables = [("DATABASE_URL", pooler.url.as_str())];
        let api = deployment.start_api(&variables).await?;
        deployment.start_worker(&variables).await?;
        let client = deployment.apis[api].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.status, 201);
        assert_eq!(client.book_seats("bob", &seats[..1]).await?.code(), "seats-taken");
        for command in [&["dead-letters", "list"][..], &["dead-letters", "reissue", "1"]] {
            let output =
                Process::output("hamro-worker", command, &deployment.environment(&variables)).await?;
            let printed = String::from_utf8(output.stderr)?;
            assert!(output.status.success() || printed.contains("there is no dead letter 1"), "{printed}");
        }
        deployment.stop_apis().await?;
        deployment.drain_and_stop_workers().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pooling_that_shares_sessions_stops_the_programs_with_its_name() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for settings in [
            "pool_mode = transaction",
            "pool_mode = statement",
            // Every transaction gets another one of three sessions.
            "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 3",
        ] {
            let pooler = deployment.pgbouncer(settings).await?;
            let mode = settings.lines().next().unwrap_or_default().replace(" = ", "=");
            let environment = deployment.environment(&[("DATABASE_URL", &pooler.url)]);
            for (program, arguments) in [
                ("hamro-api", &[][..]),
                ("hamro-api", &["migrate"]),
                ("hamro-worker", &[]),
                ("hamro-worker", &["dead-letters", "list"]),
            ] {
                let printed = printed_by_failing(program, arguments, &environment).await?;
                let text = format!(
                    "DATABASE_URL leads to a PgBouncer (or a similar pooler) with {mode}: use session pooling"
                );
                assert!(printed.contains(&text), "{program} {arguments:?}, {settings}: {printed}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_start_up_parameter_that_the_pooler_refuses_stops_the_programs_with_its_name() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let pooler = deployment.pgbouncer("pool_mode = session").await?;
        let url = format!("{}?options=-c%20jit%3Doff", pooler.url);
        let environment = deployment.environment(&[("DATABASE_URL", &url)]);
        for program in ["hamro-api", "hamro-worker"] {
            let printed = printed_by_failing(program, &[], &environment).await?;
            assert!(printed.contains("unsupported startup parameter: options: "), "{printed}");
            assert!(printed.contains("ignore_startup_parameters"), "{printed}");
        }
        Ok(())
    })
    .await
}
