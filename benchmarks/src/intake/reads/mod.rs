//! What browsers read in the opening minute: each read beside the empty handler of the same server, measured one after
//! the other. Seat maps are half sold: on a quiet map, and while 2 000 bookings per second sell from it.

mod concerts;
mod refusals;
mod row;

use anyhow::{Context, Result};
use hamro_e2e::stats::print;
use hamro_e2e::{Deployment, Setup};

pub use concerts::{Concert, Seller};
use row::{Read, Times, print_head};

const SMALL: usize = 100;
const LARGE: usize = 20_000;
/// The concert that is sold beside a small map, which has too few seats for the rate.
const BESIDE: usize = 100_000;

const PER_SECOND: u32 = 2_000;

const QUIET: Times = Times { yardstick: 1, read: 2 };
/// Sells 8 000 seats, of which a half-sold large map has 10 000.
const SELLING: Times = Times { yardstick: 1, read: 3 };
/// Bookings for the time in which `wrk` starts and ends: almost a second.
const SPARE: usize = 1_900;

pub async fn run() -> Result<()> {
    print_head();
    Deployment::run(setup(), async |deployment| {
        read_quiet(deployment).await?;
        read_while_selling(deployment).await
    })
    .await?;
    refusals::run().await
}

/// One api and one worker, whose queue never fills.
pub fn setup() -> Setup {
    Setup { variables: vec![("QUEUE_MAX", "100000000")], ..Setup::default() }
}

async fn read_quiet(deployment: &Deployment) -> Result<()> {
    let client = deployment.client();
    let small = Concert::create_half_sold(deployment, SMALL).await?;
    let large = Concert::create_half_sold(deployment, LARGE).await?;
    let layout = layout_path(deployment, &large.id).await?;
    let script = script_path(deployment).await?;
    let of = |concert: &Concert, rest: &str| format!("/seats/concert/{}{rest}", concert.id);
    let catalogue = [
        ("concert list", "/concerts".to_owned()),
        ("one concert", format!("/concerts/{}", listed_concert(deployment).await?)),
        ("tiers", "/ticket-tiers/all".to_owned()),
        ("ticket types", "/ticket-types".to_owned()),
        ("seat map of 100 seats", of(&small, "")),
        ("a script of the page", script),
    ];
    for (name, path) in catalogue {
        for accepted in [None, Some("gzip"), Some("br")] {
            Read::new(name, &path, accepted).prepare(client).await?.measure(client, QUIET, "–").await?;
        }
        let known = Read::new(name, &path, Some("br")).known();
        known.prepare(client).await?.measure(client, QUIET, "–").await?;
    }
    for (name, path) in [
        ("seat map of 20 000 seats", of(&large, "")),
        ("free seats of 10 000", of(&large, "/available")),
        ("seat status of 20 000", of(&large, "/status")),
        ("seat layout of 20 000", layout),
    ] {
        let read = Read::new(name, &path, Some("br"));
        for read in [read.clone(), read.known()] {
            read.prepare(client).await?.measure(client, QUIET, "–").await?;
        }
    }
    Ok(())
}

async fn read_while_selling(deployment: &Deployment) -> Result<()> {
    let client = deployment.client();
    let beside = Concert::create(deployment, BESIDE).await?;
    let mut beside = beside.free.into_iter();
    let mut slowest = f64::INFINITY;
    for (name, seats, rest, accepted) in [
        ("seat map of 100 seats", SMALL, "", "gzip"),
        ("seat map of 100 seats", SMALL, "", "br"),
        ("seat status of 100", SMALL, "/status", "br"),
        ("seat map of 20 000 seats", LARGE, "", "br"),
        ("free seats of 10 000", LARGE, "/available", "br"),
        ("seat status of 20 000", LARGE, "/status", "br"),
    ] {
        let concert = Concert::create_half_sold(deployment, seats).await?;
        let wanted = (SELLING.yardstick + SELLING.read) as usize * PER_SECOND as usize + SPARE;
        let sold = mixed(&concert.free, &mut beside, wanted);
        let read = Read::new(name, &format!("/seats/concert/{}{rest}", concert.id), Some(accepted));
        let read = read.prepare(client).await?;
        let seller = Seller::start(client, sold, PER_SECOND);
        read.measure(client, SELLING, "2 000 bookings/s").await?;
        slowest = slowest.min(seller.stop()?);
    }
    print(format!("\nreads: at least {slowest:.0} bookings/s were accepted while the map was read"));
    Ok(())
}

/// The seats of a map, evenly among this many bookings, and others from `beside`.
fn mixed(map: &[i64], beside: &mut impl Iterator<Item = i64>, wanted: usize) -> Vec<i64> {
    let is_of_map = |n: usize| (n + 1) * map.len() / wanted > n * map.len() / wanted;
    let mut of_map = map.iter().copied();
    (0..wanted)
        .filter_map(|n| {
            let own = if is_of_map(n) { of_map.next() } else { None };
            own.or_else(|| beside.next())
        })
        .collect()
}

async fn listed_concert(deployment: &Deployment) -> Result<String> {
    Ok(deployment.client().seat_map(0).await?.0)
}

/// The path of the current layout. Of no use if there is none.
async fn layout_path(deployment: &Deployment, concert: &str) -> Result<String> {
    let status = deployment.client().get(&format!("/seats/concert/{concert}/status")).await?;
    let version = status.body["layoutVersion"].as_str().unwrap_or("none");
    Ok(format!("/seats/concert/{concert}/layouts/{version}"))
}

/// The path of the script that the page names.
async fn script_path(deployment: &Deployment) -> Result<String> {
    let response = deployment.client().request(hyper::Method::GET, "/").send().await?;
    let document = String::from_utf8(response.body.into())?;
    let named = document.split("src=\"").nth(1).and_then(|rest| rest.split('"').next());
    Ok(format!("/{}", named.context("the page names no script")?.trim_start_matches('/')))
}
