//! A report for unit tests.

use std::collections::BTreeMap;

use hamro_verification::contract::Target;
use hamro_verification::follow::Follow;
use hamro_verification::invariant::Violations;
use hamro_verification::machine::{LoaderCost, Machine};
use hamro_verification::processes::Cost;
use hamro_verification::proof::Proof;
use uuid::Uuid;

use super::{BookedConcert, Counts, Latencies, Latency, Loader, Rates, Report, RunFacts, Verdict};
use crate::metrics::{Second, histogram};
use crate::scenario::Scenario;
use crate::schedule::Shape;

/// A rush of 10 000 buyers for 300 seats: 500/s for 20 s, with which the target kept up.
pub fn report() -> Report {
    let second = |number: u32| Second {
        at: f64::from(number) + 1.0,
        started: 500,
        accepted: 500,
        in_flight: 4,
        accept_p50: Some(4_000),
        accept_p99: Some(8_000),
        queue: Some(2),
        memory: BTreeMap::from([("api".to_owned(), 70 * 1024)]),
        ..Second::default()
    };
    let machine = Machine { cores: 2, processor: "Example".to_owned(), memory_mb: 4_096 };
    let cpu = Cost { cpu_percent: 5.0, cpu_micros_a_request: 100.0 };
    let cost = LoaderCost { cpu, resident_mb: 30 };
    let counts = Counts { started: 10_000, accepted: 10_000, settled: 10_000, ..Counts::default() };
    Report {
        conclusion: None,
        verdict: Verdict::default(),
        thresholds: Vec::new(),
        run: RunFacts {
            name: "k3f9".to_owned(),
            started: "2026-11-25T10:00:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            scenario: Scenario::Rush,
            target: Target::Async,
            url: "http://127.0.0.1:3000".to_owned(),
            shape: Shape::Poisson,
            rate: 500.0,
            buyers: 10_000,
            seats: 300,
            concerts: 1,
            group_size: 4,
            keys: false,
            follow: Follow::Wait,
            follow_share: 0.4,
            seed: 1,
            journal: "k3f9.journal".to_owned(),
        },
        loaders: vec![Loader {
            run: "k3f9".to_owned(),
            machine: machine.clone(),
            url: "http://127.0.0.1:3000".to_owned(),
            journal: "k3f9.journal".to_owned(),
            first_due: 1_764_064_800_000,
            arrivals_seconds: 20.0,
            rate: 500.0,
            buyers: 10_000,
            cost: cost.clone(),
            lag_p99: 500,
            lag_limit: 5_000,
            waited: 0,
            in_flight_max: 10_000,
            concerts: vec![BookedConcert {
                id: Uuid::from_u128(1),
                seats: 300,
                free: 300,
                is_exclusive: true,
            }],
        }],
        machine,
        counts,
        visits: None,
        rates: Rates::of(&counts, 20.0, 20.1, None),
        latencies: Latencies {
            lag: latency(500),
            accept: Some(latency(8_000)),
            settle: Some(latency(20_000)),
            poll: None,
            visit: None,
            queued: Some(latency(12_000)),
        },
        responses: BTreeMap::from([("accepted".into(), 10_000)]),
        loader: cost,
        costs: BTreeMap::from([("api".to_owned(), Cost { cpu_percent: 40.0, cpu_micros_a_request: 800.0 })]),
        idle: BTreeMap::new(),
        timeline: (0..20).map(second).collect(),
        settled_by_second: vec![500; 20],
        drifts: Vec::new(),
        baselines: Vec::new(),
        proof: proof(),
    }
}

/// 10 000 requests that all took this long.
fn latency(micros: u64) -> Latency {
    let mut histogram = histogram();
    histogram.record_n(micros, 10_000).unwrap();
    // Percentiles of a histogram are rounded up within its precision.
    let latency = Latency::of_any(&histogram);
    Latency { p50: micros, p90: micros, p99: micros, p999: micros, max: micros, ..latency }
}

fn proof() -> Proof {
    serde_json::from_value(serde_json::json!({
        "requests": 10_000, "tickets": 10_000, "confirmed": 110, "rejected": 9_890, "expired": 0, "failed": 0,
        "ambiguous": 0, "seats_sold": 250, "seats": 300, "by_sql": true,
        "violations": Violations::default(), "remarks": [],
    }))
    .unwrap()
}
