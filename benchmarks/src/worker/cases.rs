//! Drain rates by batch size, kind of booking and number of workers.

use anyhow::Result;
use hamro_e2e::stats::{median, print};

use crate::bare;
use crate::drain::{self, Drained, Plan};
use crate::kind::Kind;

/// Each result is the median of this many rounds. The rounds of all cases alternate, so that a varying machine affects
/// all of them equally.
const ROUNDS: usize = 3;

const BOOKINGS: usize = 300_000;

/// The actual batch size with `BATCH_MAX` 500, because a batch has whole parcels.
const WHOLE_PARCELS: usize = 512;

/// This many take half a minute with one booking per batch.
const ONE_BY_ONE: usize = 20_000;

/// Measures batch sizes.
pub async fn batches() -> Result<()> {
    let sizes = [1, 64, 128, 200, 320, 500, 1_000, 2_000];
    let mut rates = vec![(Vec::new(), Vec::new()); sizes.len()];
    for _ in 0..ROUNDS {
        for (size, (worker, bare)) in sizes.into_iter().zip(&mut rates) {
            // A batch has whole parcels, so a smaller batch needs smaller parcels.
            let plan = Plan { batch_max: size, parcel: size.min(Plan::USUAL.parcel), ..Plan::USUAL };
            let count = if size == 1 { ONE_BY_ONE } else { BOOKINGS };
            worker.push(measure(Kind::DistinctSeats, plan, count).await?.rate);
            bare.push(bare_rate(size, count).await?);
        }
    }
    for (size, (worker, bare)) in sizes.into_iter().zip(rates) {
        let (worker, bare) = (median(worker), median(bare));
        print(format!(
            "batches: BATCH_MAX={size}: {worker:.0} bookings/s = {:.2} of the bare statements ({bare:.0}/s)",
            worker / bare
        ));
    }
    Ok(())
}

/// Measures the drain rate by kind of booking.
pub async fn drain() -> Result<()> {
    let mut rates = vec![Vec::new(); Kind::ALL.len()];
    let (mut bare, mut one_by_one, mut peak) = (Vec::new(), Vec::new(), 0);
    for round in 1..=ROUNDS {
        for (kind, rates) in Kind::ALL.into_iter().zip(&mut rates) {
            let drained = measure(kind, Plan::USUAL, BOOKINGS).await?;
            print(format!("drain, round {round}: {kind}: {:.0} bookings/s", drained.rate));
            rates.push(drained.rate);
            peak = peak.max(drained.peak_kilobytes);
        }
        bare.push(bare_rate(WHOLE_PARCELS, BOOKINGS).await?);
        one_by_one.push(measure(Kind::DistinctSeats, Plan::ONE_BY_ONE, ONE_BY_ONE).await?.rate);
    }
    let (bare, one_by_one) = (median(bare), median(one_by_one));
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    for (kind, rate) in Kind::ALL.into_iter().zip(&rates) {
        print(format!(
            "drain, medians: {kind}: {rate:.0} bookings/s = {:.2} of the first case",
            rate / rates[0]
        ));
    }
    print(format!(
        "drain, medians: the first case = {:.2} of the bare statements ({bare:.0}/s; target 0.8) = {:.1} × one by one \
         ({one_by_one:.0}/s; target 8)",
        rates[0] / bare,
        rates[0] / one_by_one
    ));
    print(format!(
        "drain, medians: a booking in a concert 100 times larger costs {:.2} times as much as in small concerts on sale \
         together (target 1.1), and {:.2} times as much as in small concerts one after the other",
        rates[1] / rates[0],
        rates[2] / rates[0]
    ));
    print(format!("drain: peak resident memory of a worker: {} MB (target 64)", peak / 1024));
    Ok(())
}

/// Measures the most important result in a minute: sales, compared with the bare statements.
pub async fn sales() -> Result<()> {
    let (mut worker, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        worker.push(measure(Kind::DistinctSeats, Plan::USUAL, BOOKINGS).await?.rate);
        bare.push(bare_rate(WHOLE_PARCELS, BOOKINGS).await?);
        print(format!(
            "sales, round {round}: {:.0} bookings/s, bare {:.0}/s",
            worker[round - 1],
            bare[round - 1]
        ));
    }
    let (worker, bare) = (median(worker), median(bare));
    print(format!(
        "sales, medians: {worker:.0} bookings/s = {:.2} of the bare statements ({bare:.0}/s; target 0.8)",
        worker / bare
    ));
    Ok(())
}

/// Measures what a limit of seats per customer costs, where every booking is a sale and where none is.
pub async fn limit() -> Result<()> {
    let with_limit = Plan { limit: Some("4"), ..Plan::USUAL };
    for kind in [Kind::DistinctSeats, Kind::SoldOut] {
        let (mut limited, mut free) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            free.push(measure(kind, Plan::USUAL, BOOKINGS).await?.rate);
            limited.push(measure(kind, with_limit, BOOKINGS).await?.rate);
        }
        let (limited, free) = (median(limited), median(free));
        print(format!(
            "limit, medians: {kind}: {limited:.0} bookings/s = {:.2} of the rate without a limit ({free:.0}/s)",
            limited / free
        ));
    }
    Ok(())
}

/// Measures the drain rate by number of workers.
pub async fn scale() -> Result<()> {
    let counts = [1, 2, 4];
    let mut rates = vec![Vec::new(); counts.len()];
    for _ in 0..ROUNDS {
        for (workers, rates) in counts.into_iter().zip(&mut rates) {
            rates.push(measure(Kind::DistinctSeats, Plan { workers, ..Plan::USUAL }, BOOKINGS).await?.rate);
        }
    }
    for (workers, rates) in counts.into_iter().zip(rates) {
        print(format!("scale, medians: {workers} workers: {:.0} bookings/s", median(rates)));
    }
    Ok(())
}

async fn measure(kind: Kind, plan: Plan, count: usize) -> Result<Drained> {
    drain::without_workers(async |deployment| {
        let bookings = kind.bookings(&deployment.pool, count).await?;
        drain::drain(deployment, plan, &bookings).await
    })
    .await
}

async fn bare_rate(batch: usize, count: usize) -> Result<f64> {
    drain::without_workers(async |deployment| {
        let bookings = Kind::DistinctSeats.bookings(&deployment.pool, count).await?;
        bare::sell(&deployment.pool, batch, &bookings).await
    })
    .await
}
