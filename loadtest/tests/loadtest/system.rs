//! Tests of every scenario against the real system.

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Setup};

use crate::loader::{Outcome, command, run, verify};

/// The URL of the deployment's database.
fn database(deployment: &Deployment) -> Result<String> {
    let variables = deployment.environment(&[]);
    let url = variables.into_iter().find(|(name, _)| name == "DATABASE_URL");
    Ok(url.context("no DATABASE_URL")?.1)
}

/// Runs with these arguments, and checks that the run passes.
pub async fn passes(deployment: &Deployment, arguments: &str) -> Result<Outcome> {
    let url = deployment.client().url("");
    let database = database(deployment)?;
    let outcome = run(&url, arguments, &[("DATABASE_URL", &database)]).await?;
    assert_eq!(outcome.code, 0, "{arguments}\n{}", outcome.printed);
    assert!(outcome.printed.contains("the database matches the responses"), "{}", outcome.printed);
    Ok(outcome)
}

fn count(outcome: &Outcome, what: &str) -> u64 {
    outcome.report["proof"][what].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn a_rush_sells_every_seat_once_and_can_be_verified_again() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let outcome = passes(deployment, "rush --rate 300 --buyers 600 --seats 20 --group-size 1").await?;
        // Bookings of seats that are known to be sold are rejected without a ticket.
        assert_eq!((count(&outcome, "confirmed"), count(&outcome, "rejected")), (20, 580));
        let queued = &outcome.report["latencies"]["queued"];
        assert_eq!(queued["count"], count(&outcome, "tickets"));
        assert!((Some(1_000)..Some(60_000_000)).contains(&queued["p50"].as_u64()), "{queued}");
        assert_eq!(count(&outcome, "seats_sold"), 20);
        assert!(outcome.printed.contains("1 concert kept"), "{}", outcome.printed);

        let database = database(deployment)?;
        let (code, printed) = verify(&outcome.files.journal(), &[("DATABASE_URL", &database)]).await?;
        assert_eq!(code, 0, "{printed}");
        // Simulates lost sales.
        sqlx::query("UPDATE bookings SET sale_id = sale_id + 1000 WHERE status = 'confirmed'")
            .execute(&deployment.pool)
            .await?;
        let (code, printed) = verify(&outcome.files.journal(), &[("DATABASE_URL", &database)]).await?;
        assert_eq!(code, 1, "{printed}");
        sqlx::query("UPDATE bookings SET sale_id = sale_id - 1000 WHERE status = 'confirmed'")
            .execute(&deployment.pool)
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_spread_sells_every_buyer_a_seat_with_each_way_to_follow_tickets() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        for follow in ["sse", "wait", "poll"] {
            let arguments = format!(
                "spread --rate 100 --buyers 150 --group-size 2 --seats-per-concert 100 --follow {follow} --follow-share 1"
            );
            let outcome = passes(deployment, &arguments).await?;
            assert_eq!(count(&outcome, "confirmed"), 150, "{follow}");
            assert_eq!(outcome.report["latencies"]["settle"]["count"], 150, "{follow}");
            assert_eq!(outcome.report["run"]["concerts"], 3);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_instances_report_final_statuses_consistently() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 2, ..Setup::default() }, async |deployment| {
        let other = deployment.apis[1].client.url("");
        let arguments =
            format!("rush --rate 200 --buyers 300 --seats 100 --follow-share 1 --other-url {other}");
        for follow in ["sse", "wait", "poll"] {
            let outcome = passes(deployment, &format!("{arguments} --follow {follow}")).await?;
            assert!(count(&outcome, "read_again") > 0, "{}", outcome.printed);
            assert!(count(&outcome, "read_again_elsewhere") > 0, "{}", outcome.printed);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_other_scenario_passes() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let hot_seat = passes(deployment, "hot-seat --rate 200 --buyers 200").await?;
        assert_eq!((count(&hot_seat, "confirmed"), count(&hot_seat, "rejected")), (1, 199));
        let live_map = passes(deployment, "live-map --rate 100 --buyers 100 --seats 50 --keys").await?;
        assert_eq!(count(&live_map, "seats_sold"), 50);
        let polls = passes(deployment, "polls --rate 500 --buyers 1000").await?;
        assert_eq!(count(&polls, "confirmed"), 11);
        assert_eq!(polls.report["latencies"]["poll"]["count"], 990);
        let replay = passes(deployment, "replay --rate 50 --buyers 100").await?;
        assert_eq!((count(&replay, "requests"), count(&replay, "confirmed") > 0), (300, true));
        let soak = passes(deployment, "soak --rate 50 --buyers 100").await?;
        assert_eq!(count(&soak, "confirmed"), 100);
        for shape in ["constant", "ramp", "spike"] {
            passes(deployment, &format!("spread --rate 200 --buyers 100 --shape {shape}")).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_waiting_endpoint_is_measured_and_verified() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let outcome =
            passes(deployment, "rush --target sync --rate 100 --buyers 200 --seats 20 --group-size 1")
                .await?;
        assert_eq!(count(&outcome, "seats_sold"), 20);
        assert_eq!(outcome.report["latencies"]["accept"]["count"], 200);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_cost_of_the_idle_system_is_told_apart() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let api = deployment.apis[0].process.id()?;
        let arguments = format!("rush --rate 200 --buyers 200 --seats 20 --idle 500ms --watch api={api}");
        let outcome = passes(deployment, &arguments).await?;
        let idle = outcome.report["idle"]["api"].as_f64().context("no idle cost")?;
        assert!((0.0..100.0).contains(&idle), "{idle} %");
        for part in ["per buyer", "of which idle", "without idle", "the system, all together"] {
            assert!(outcome.printed.contains(part), "{part:?}: {}", outcome.printed);
        }
        let page = std::fs::read_to_string(outcome.files.html())?;
        assert!(page.contains("without idle"), "{page}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_existing_concert_can_be_booked_and_invalid_arguments_create_none() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let (concert, _) = deployment.client().seat_map(0).await?;
        let outcome =
            passes(deployment, &format!("spread --rate 50 --buyers 40 --concert {concert}")).await?;
        assert_eq!(count(&outcome, "seats_sold"), 40);
        let url = deployment.client().url("");
        let small = run(&url, &format!("spread --buyers 61 --concert {concert}"), &[]).await?;
        assert_eq!(small.code, 2, "{}", small.printed);
        assert!(
            small.printed.contains("61 buyers need 61 free seats in this scenario, but there are 60"),
            "{}",
            small.printed
        );

        // The arguments are rejected before a concert is created.
        let outcome = run(&url, "polls --target sync", &[]).await?;
        assert_eq!(outcome.code, 2, "{}", outcome.printed);
        let concerts = hamro_e2e::tables::count(&deployment.pool, "concerts").await?;
        assert_eq!(concerts, 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn baselines_are_measured_and_leave_nothing_behind() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let variables = deployment.environment(&[]);
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for arguments in
            [["baseline", "publish", "--duration", "1s"], ["baseline", "settle", "--duration", "1s"]]
        {
            let output = command(&arguments, &variables).output().await?;
            let printed =
                [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
            assert!(output.status.success() && printed.contains("/s"), "{printed}");
        }
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname LIKE 'hamro_baseline_%'")
                .fetch_one(&deployment.pool)
                .await?;
        assert_eq!(left, 0);
        Ok(())
    })
    .await
}
