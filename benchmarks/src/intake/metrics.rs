//! What counting costs: the processor time of the api per booking, beside an api that was built without it.

use std::time::Duration;

use anyhow::Result;
use hamro_e2e::process::Process;
use hamro_e2e::stats::{median, print};
use hamro_e2e::{Client, Deployment, Setup};
use hamro_verification::processes::{self, CostMark};
use tokio::time::interval;

use crate::wrk;

/// The two programs alternate, so that a varying machine affects both equally.
const ROUNDS: usize = 5;

/// Both are built by `deploy/dev/bench.sh`, the second with the feature `without-metrics`.
const WITH: &str = "hamro-api";
const WITHOUT: &str = "hamro-api-without-metrics";

pub async fn run() -> Result<()> {
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let mut costs = Vec::new();
        // Which one comes first alternates too.
        let order = if round % 2 == 0 { [WITH, WITHOUT] } else { [WITHOUT, WITH] };
        for program in order {
            let measured = measure(program).await?;
            print(format!(
                "metrics, round {round}: {program}: {:.0} bookings/s, {:.1} µs of processor time per booking",
                measured.rate, measured.micros
            ));
            costs.push((program, measured.micros));
        }
        costs.sort_unstable_by_key(|(program, _)| *program == WITHOUT);
        ratios.push(costs[0].1 / costs[1].1);
    }
    let cost = (median(ratios) - 1.0) * 100.0;
    print(format!("metrics, median: counting costs {cost:.1} % of the api's processor time (target 3 %)"));
    Ok(())
}

struct Measured {
    rate: f64,
    micros: f64,
}

/// Books as fast as wrk can on an api of its own. What counts is scraped once a second.
async fn measure(program: &str) -> Result<Measured> {
    let variables = vec![("QUEUE_MAX", "100000000")];
    let setup = Setup { variables, expects_leftovers: true, ..Setup::without_processes() };
    Deployment::run(setup, async |deployment| {
        let mut api = Process::start("api", program, &[], &deployment.environment(&[]))?;
        let client = Client::new(&api.line_after("listening on ").await?);
        client.wait_until_ready().await?;
        let watched = [processes::Process { name: program.to_owned(), pid: api.id()?.try_into()? }];
        let url = client.url("/");
        let mark = CostMark::now(&watched);
        let rate = tokio::select! {
            rate = wrk::rate(&url, Some(wrk::BOOK)) => rate?,
            failed = scrape(&mut api), if program == WITH => return Err(failed),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let bookings = (rate * f64::from(wrk::SECONDS)) as u64;
        Ok(Measured { rate, micros: mark.costs(bookings)[program].cpu_micros_a_request })
    })
    .await
}

/// Resolves only if a scrape fails.
async fn scrape(api: &mut Process) -> anyhow::Error {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if let Err(error) = api.metrics().await {
            return error;
        }
    }
}
