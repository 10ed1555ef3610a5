//! Clients that try to take what the others need, and an honest client beside them.
//!
//! Each attack runs against its own api and worker, twice: with the settings as shipped, and with every bound as wide as
//! the settings allow, which stands for the api without bounds. Attackers connect from 127.0.0.1 and the honest client
//! from 127.0.0.2, because the bounds have a share for each address. The honest client is measured before and during the
//! attack; the report contains the ratio of the two.

mod attacker;
mod honest;
mod kind;

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::stats::{percentile, print};
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::json;

use self::attacker::{Attackers, Fates};
use self::honest::{HonestClient, Latencies};
use self::kind::{Attack, Target};

/// How long the honest client is measured, without attack and with it.
const PHASE: Duration = Duration::from_secs(15);
const SMOKE_PHASE: Duration = Duration::from_secs(2);
/// After the attackers have left, until the memory is read. The honest client goes on.
const RECOVERY: Duration = Duration::from_secs(5);
/// The large seat map has this many rows of this many seats.
const ROWS: u32 = 100;
const SEATS_PER_ROW: u32 = 500;

/// The settings as shipped. Tests and other benchmarks do without the share for each client.
const SHIPPED: [(&str, &str); 1] = [("CLIENT_SHARE", "10")];

/// Every bound as wide as its setting allows. `CONNECTIONS_MAX` is by default.
const UNBOUNDED: [(&str, &str); 9] = [
    ("BODY_TIMEOUT", "1m"),
    ("CLIENT_SHARE", "100"),
    ("HEAD_TIMEOUT", "1h"),
    ("HTTP2_STREAMS_MAX", "10000"),
    ("RESPONSE_BYTES_MAX", "4294967295"),
    ("STREAMS_MAX", "1000000"),
    ("STREAM_MAX_AGE", "1h"),
    ("WAITS_MAX", "1000000"),
    ("WRITE_TIMEOUT", "1h"),
];

/// What an attack did to the api and to the honest client.
struct Measurement {
    fates: Fates,
    /// The api's resident memory before, at most, and after, in MB.
    memory: [f64; 3],
    without: Latencies,
    during: Latencies,
}

/// Runs all attacks. A smoke run takes seconds, and its figures mean nothing.
pub async fn run(is_smoke: bool) -> Result<()> {
    print(format!(
        "attacks: {:<22}{:<10}{:>7}{:>9}{:>26}{:>32}{:>32}{:>8}",
        "attack",
        "bounds",
        "held",
        "refused",
        "api MB: before/peak/after",
        "book p50/p99 ms (ratio)",
        "read p50/p99 ms (ratio)",
        "failed"
    ));
    for attack in Attack::ALL {
        for (bounds, variables) in [("shipped", &SHIPPED[..]), ("widest", &UNBOUNDED)] {
            let setup = Setup {
                variables: variables.to_vec(),
                // An api without bounds may fail.
                expects_errors: true,
                ..Setup::default()
            };
            let measured =
                Deployment::run(setup, async |deployment| measure(deployment, attack, is_smoke).await).await;
            report(attack, bounds, &measured.with_context(|| format!("{attack:?}, bounds {bounds}"))?);
        }
    }
    Ok(())
}

async fn measure(deployment: &mut Deployment, attack: Attack, is_smoke: bool) -> Result<Measurement> {
    let phase = if is_smoke { SMOKE_PHASE } else { PHASE };
    let target = prepare(deployment).await?;
    let mut honest = HonestClient::new(&target);
    let without = honest.run(phase).await;
    let before = megabytes(deployment.apis[0].process.resident_kilobytes()?)?;
    // Resets the peak (proc_pid_clear_refs(5)).
    std::fs::write(format!("/proc/{}/clear_refs", deployment.apis[0].process.id()?), "5")?;
    let attackers = Attackers::start(attack, &target, is_smoke)?;
    let during = honest.run(phase).await;
    let fates = attackers.stop().await;
    honest.run(RECOVERY).await;
    let api = &deployment.apis[0].process;
    let memory = [before, megabytes(api.peak_kilobytes()?)?, megabytes(api.resident_kilobytes()?)?];
    Ok(Measurement { fates, memory, without, during })
}

/// Adds the seats of the large seat map.
async fn prepare(deployment: &Deployment) -> Result<Target> {
    let client = deployment.client();
    let (large, map) = client.seat_map(0).await?;
    let tier = &map["seats"][0]["ticketTierId"];
    let block =
        json!({"ticketTierId": tier, "section": "stadium", "rows": ROWS, "seatsPerRow": SEATS_PER_ROW});
    client.write(Method::POST, &format!("/concerts/{large}/seats"), &block).await?;
    let (small, _) = client.seat_map(1).await?;
    let seats = client.seat_ids(0).await?;
    Ok(Target { address: client.address().parse()?, large_concert: large, small_concert: small, seats })
}

fn report(attack: Attack, bounds: &str, measured: &Measurement) {
    let Measurement { fates, memory: [before, peak, after], without, during } = measured;
    let compare = |base: &[f64], now: &[f64]| match (base, now) {
        ([], _) | (_, []) => "none".to_owned(),
        _ => {
            let [p50, p99] = [0.5, 0.99].map(|share| percentile(now, share));
            let [base50, base99] = [0.5, 0.99].map(|share| percentile(base, share));
            format!("{p50:.1}/{p99:.1} ({:.1}/{:.1})", p50 / base50, p99 / base99)
        }
    };
    print(format!(
        "attacks: {:<22}{bounds:<10}{:>7}{:>9}{:>26}{:>32}{:>32}{:>8}",
        attack.name(),
        fates.held,
        fates.refused,
        format!("{before:.0}/{peak:.0}/{after:.0}"),
        compare(&without.book, &during.book),
        compare(&without.read, &during.read),
        during.failed,
    ));
}

fn megabytes(kilobytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(kilobytes)?) / 1024.0)
}
