//! The seat maps of a large installation: 20 concerts with 2 000 000 seats in all, which are watched while they sell. The
//! memory of an api that holds them, and the CPU time for keeping them current.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::stats::print;
use hamro_e2e::{Client, Deployment, Setup};
use hamro_verification::processes::{CostMark, Process};
use hyper::Method;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::reads::{Concert, Seller};

const CONCERTS: usize = 20;
const SEATS: usize = 100_000;
const PER_SECOND: u32 = 2_000;
/// How long each phase is measured.
const PHASE: Duration = Duration::from_secs(10);
/// How often each map and its status are read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// What each reader reads.
const READS: [&str; 2] = ["", "/status"];

pub async fn run() -> Result<()> {
    let variables = vec![("QUEUE_MAX", "100000000")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| measure(deployment).await)
        .await
}

async fn measure(deployment: &mut Deployment) -> Result<()> {
    let at_start = megabytes(deployment.apis[0].process.resident_kilobytes()?)?;
    let mut concerts = Vec::new();
    for number in 1..=CONCERTS {
        concerts.push(Concert::create(deployment, SEATS).await?);
        print(format!("maps: created concert {number} of {CONCERTS}"));
    }
    // In turn from each concert.
    let bookings = usize::try_from(PER_SECOND)? * usize::try_from(PHASE.as_secs())? * 3;
    let seats: Vec<i64> = (0..bookings).map(|n| concerts[n % CONCERTS].free[n / CONCERTS]).collect();
    let (first, second) = seats.split_at(seats.len() / 2);
    let api = &deployment.apis[0];
    let watched = [Process { name: "api".to_owned(), pid: api.process.id()?.try_into()? }];
    let idle = cpu(&watched).await?;
    let selling = while_selling(deployment, first, &watched).await?;

    let (served, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut readers = JoinSet::new();
    for concert in &concerts {
        for rest in READS {
            let path = format!("/seats/concert/{}{rest}", concert.id);
            readers.spawn(read(api.client.clone(), path, served.clone(), refused.clone()));
        }
        readers.spawn(watch(api.client.clone(), format!("/seats/concert/{}/events", concert.id)));
    }
    // Until every map was built.
    let quiet_readers = cpu(&watched).await?;
    let with_readers = cpu(&watched).await?;
    let held = megabytes(api.process.resident_kilobytes()?)?;
    let made_before = seconds_of_making(deployment).await?;
    let both = while_selling(deployment, second, &watched).await?;
    let making = 100.0 * (seconds_of_making(deployment).await? - made_before) / PHASE.as_secs_f64();
    readers.shutdown().await;
    let api = &deployment.apis[0];
    print(format!("\n| {CONCERTS} concerts, {} seats, one api | |\n| --- | --- |", CONCERTS * SEATS));
    for (name, value) in [
        ("memory at start, MB", at_start),
        ("memory with all maps watched, MB (target 256)", held),
        ("peak memory, MB", megabytes(api.process.peak_kilobytes()?)?),
        ("CPU of the idle api, % of a core", idle),
        ("CPU with 2 000 bookings/s and no reader, %", selling),
        ("CPU with readers and no booking: first 10 s, %", quiet_readers),
        ("CPU with readers and no booking: then, %", with_readers),
        ("CPU with both, %", both),
        ("of which for making the maps and statuses again, % (target 5)", making),
    ] {
        print(format!("| {name} | {value:.1} |"));
    }
    let (served, refused) = (served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    print(format!("\nmaps: {served} reads were served, {refused} were refused or failed"));
    Ok(())
}

/// The processor time that the api has spent so far on making documents about seats.
async fn seconds_of_making(deployment: &mut Deployment) -> Result<f64> {
    Ok(deployment.apis[0].process.metrics().await?.count("hamro_seat_map_build_duration_seconds_sum", &[]))
}

async fn while_selling(deployment: &Deployment, seats: &[i64], watched: &[Process]) -> Result<f64> {
    let seller = Seller::start(deployment.client(), seats.to_vec(), PER_SECOND);
    let percent = cpu(watched).await?;
    seller.stop()?;
    Ok(percent)
}

/// The CPU time of the api in the next phase, in percent of one core.
#[expect(clippy::disallowed_methods, reason = "measures for a fixed time")]
async fn cpu(watched: &[Process]) -> Result<f64> {
    let mark = CostMark::now(watched);
    tokio::time::sleep(PHASE).await;
    Ok(mark.costs(1).get("api").context("the api has ended")?.cpu_percent)
}

/// Reads a path again and again.
async fn read(client: Client, path: String, served: Arc<AtomicUsize>, refused: Arc<AtomicUsize>) {
    let mut ticks = interval(READ_EVERY);
    loop {
        ticks.tick().await;
        let request = client.request(Method::GET, &path).header("accept-encoding", "gzip, deflate, br, zstd");
        let is_served = request.send().await.is_ok_and(|response| response.status == 200);
        let count = if is_served { &served } else { &refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads an event stream to its end.
async fn watch(client: Client, path: String) {
    if let Ok(mut stream) = client.request(Method::GET, &path).events().await {
        while let Ok(Some(_)) = stream.next().await {}
    }
}

fn megabytes(kilobytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(kilobytes)?) / 1024.0)
}
