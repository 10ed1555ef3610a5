//! The state of the installation: `GET /ops/state`.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::timeout;

use super::get;

async fn state(client: &Client) -> Result<Value> {
    let state = get(client, "/ops/state").await?;
    anyhow::ensure!(state.status == 200, "{state:?}");
    Ok(state.body)
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// The sum of the known points.
fn sum(points: &Value) -> f64 {
    points.as_array().map_or(0.0, |points| points.iter().filter_map(Value::as_f64).sum())
}

#[tokio::test]
async fn every_instance_reports_all_processes_and_what_the_installation_did_each_second() -> Result<()> {
    let variables = vec![("AUDIT_EVERY", "1s"), ("EARLY_REJECTION", "off")];
    Deployment::run(Setup { apis: 2, workers: 2, variables, ..Setup::default() }, async |deployment| {
        let clients = [0, 1].map(|number| deployment.apis[number].client.clone());
        for client in &clients {
            wait_until("it has heard all processes", async || {
                let state = state(client).await?;
                let is_complete = length(&state["workers"]) == 2 && length(&state["instances"]) == 2;
                let points = sum(&state["history"]["series"]["workers"]);
                Ok((is_complete && points > 0.0).then_some(()))
            })
            .await?;
        }
        let seats = clients[0].seat_ids(0).await?;
        for (number, client) in clients.iter().enumerate() {
            let booked = client.book_seats(&format!("customer{number}"), &seats[..1]).await?;
            assert_eq!(booked.status, if number == 0 { 201 } else { 409 });
        }
        for client in &clients {
            let state = wait_until("the bookings are counted", async || {
                let state = state(client).await?;
                let series = &state["history"]["series"];
                let settled = ["confirmed", "seats-taken"].map(|outcome| sum(&series["settled"][outcome]));
                let is_counted = settled.iter().all(|count| (count - 1.0).abs() < 0.01);
                let is_counted = is_counted && state["audit"].is_object();
                Ok((is_counted && (sum(&series["accepted"]) - 2.0).abs() < 0.01).then_some(state))
            })
            .await?;
            let series = state["history"]["series"].as_object().context("no series")?;
            let points = length(&series["accepted"]);
            for (name, series) in series {
                match series.as_object() {
                    Some(named) => {
                        named.values().for_each(|series| assert_eq!(length(series), points, "{name}"));
                    }
                    None => assert_eq!(length(series), points, "{name}"),
                }
            }
            assert!(sum(&series["settleP99"]) > 0.0 && sum(&series["acceptP50"]) > 0.0, "{series:?}");
            let this = state["instances"].as_array().context("no instances")?.iter();
            let this: Vec<&Value> = this.filter(|instance| instance["isThis"] == true).collect();
            assert_eq!((this.len(), &this[0]["process"]), (1, &state["instance"]), "{state}");
            let workers = state["workers"].as_array().context("no workers")?;
            let settled: u64 = workers.iter().filter_map(|worker| worker["settledTotal"].as_u64()).sum();
            assert_eq!(settled, 2, "{state}");
            assert!(workers.iter().all(|worker| worker["notReady"] == serde_json::json!([])), "{state}");
            assert_eq!(
                (&state["deadLetters"]["open"], &state["database"]["reachable"]),
                (&0.into(), &true.into())
            );
            assert_eq!(
                (&state["broker"]["accepts"], &state["controls"]["revision"]),
                (&true.into(), &0.into())
            );
            assert_eq!(state["database"]["connectionsMax"], 10);
            assert!(state["database"]["clockOffsetMs"].is_i64(), "{state}");
            assert_eq!(state["audit"]["doubleSoldSeats"], 0, "a worker audits: {state}");
            // Only what is new.
            let from = state["history"]["from"].as_i64().context("no from")?;
            let last = from + i64::try_from(points)? - 1;
            let rest = get(client, &format!("/ops/state?since={last}")).await?.body["history"].clone();
            assert_eq!(rest["from"], last);
            assert!((1..=5).contains(&length(&rest["series"]["accepted"])), "{rest}");
        }
        let odd = get(&clients[0], "/ops/state?since=yesterday").await?;
        assert_eq!((odd.status, odd.code()), (422, "invalid-request"));
        assert_eq!(clients[0].get("/ops/state").await?.status, 401);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_state_names_why_a_worker_is_stuck_and_how_long_another_is_silent() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        // A fault that no booking has caused.
        sqlx::raw_sql("ALTER TABLE sales RENAME TO gone").execute(&deployment.pool).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        let state_with = async |what: &str, condition: &dyn Fn(&Value) -> bool| {
            wait_until(what, async || {
                let state = state(&client).await?;
                let workers = state["workers"].as_array().cloned().unwrap_or_default();
                Ok(workers.iter().any(condition).then_some(()))
            })
            .await
        };
        state_with("a worker says why it is not ready", &|worker| length(&worker["notReady"]) > 0).await?;
        sqlx::raw_sql("ALTER TABLE gone RENAME TO sales").execute(&deployment.pool).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        deployment.kill_worker(0).await?;
        state_with("a worker is silent", &|worker| worker["heardSecondsAgo"].as_f64() > Some(2.0)).await
    })
    .await
}

#[tokio::test]
async fn the_state_is_reported_while_postgres_does_not_respond() -> Result<()> {
    let nowhere = ("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro");
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.launch_api(&[nowhere]).await?;
        let client = deployment.apis[number].client.clone();
        let state = timeout(Duration::from_secs(2), state(&client)).await.context("it took too long")??;
        assert_eq!((&state["deadLetters"], &state["database"]["reachable"]), (&Value::Null, &false.into()));
        deployment.apis[number].process.signal(Signal::SIGKILL)?;
        deployment.apis.remove(number).process.ended().await?;
        Ok(())
    })
    .await
}
