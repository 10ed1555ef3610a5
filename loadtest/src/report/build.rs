//! Builds the report of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hamro_shared::domain::{TicketId, Timestamp};
use hdrhistogram::Histogram;

use super::{
    BaselineReport, BookedConcert, Counts, Ending, Evidence, Latencies, Latency, Loader, Rates, Report,
    RunFacts, Verdict, VisitReport, drifts, lag_limit,
};
use crate::arguments::RunArguments;
use crate::metrics::histogram;
use crate::run_context::RunContext;
use crate::visits::VisitTotals;
use hamro_verification::journal::{Concert, Header};
use hamro_verification::machine::{LoaderCost, Machine};
use hamro_verification::processes::Cost;
use hamro_verification::proof::Proof;
use hamro_verification::request_log::{RecordedOutcome, RequestLog};

/// What was measured while buyers arrived.
pub struct LoadPhaseResult {
    pub ending: Ending,
    /// When the first buyer was due.
    pub first_due: Instant,
    /// How long buyers arrived.
    pub arrivals: Duration,
    pub loader: LoaderCost,
    /// CPU time of the named processes while buyers arrived. It excludes the time in which the queue drained.
    pub costs: BTreeMap<String, Cost>,
    /// The same before the first buyer arrived, in percent of one core.
    pub idle: BTreeMap<String, f64>,
    /// What visitors of the page received.
    pub visits: Option<VisitTotals>,
}

/// UUID version of ticket ids that contain their time of issue. Other systems may use random ids.
const TICKET_VERSION: usize = 8;

pub(crate) fn build(
    arguments: &RunArguments,
    context: &RunContext,
    header: &Header,
    buyers: u64,
    load: LoadPhaseResult,
    baselines: Vec<BaselineReport>,
    proof: Proof,
) -> Report {
    let first_due = header.started + millis(load.first_due.saturating_duration_since(context.start));
    let settlements = Settlements::of(&context.run_log.request_log(), first_due);
    let data = context.metrics.read();
    let latencies = Latencies {
        lag: Latency::of_any(&data.lag),
        accept: Latency::of(&data.accept),
        settle: Latency::of(&data.settle),
        poll: Latency::of(&data.poll),
        visit: load.visits.as_ref().and_then(|visits| Latency::of(&visits.latency)),
        queued: Latency::of(&settlements.queued),
    };
    let drifts = drifts(&data.timeline);
    let lag_limit = arguments.lag_max.unwrap_or_else(|| lag_limit(&latencies));
    let verdict = Verdict::of(&Evidence {
        scenario: arguments.scenario,
        visits: load.visits.as_ref(),
        expects_bookings: context.visits.as_ref().is_none_or(|visits| visits.arguments.book_share > 0.0),
        ending: load.ending,
        proof: &proof,
        latencies: &latencies,
        drifts: &drifts,
        lag_limit,
        waited: context.waited(),
        in_flight_max: arguments.in_flight_max,
    });
    let counts = Counts {
        started: data.started,
        accepted: data.accepted,
        refused: data.refused,
        lost: data.lost,
        polls: data.poll.len(),
        settled: settlements.count,
    };
    let arrivals_seconds = load.arrivals.as_secs_f64();
    let loader = Loader {
        run: header.name.clone(),
        machine: Machine::this(),
        url: arguments.url.clone(),
        journal: context.run_log.path(),
        first_due,
        arrivals_seconds,
        rate: arguments.rate,
        buyers,
        cost: load.loader.clone(),
        lag_p99: latencies.lag.p99,
        lag_limit: u64::try_from(lag_limit.as_micros()).unwrap_or(u64::MAX),
        waited: context.waited(),
        in_flight_max: arguments.in_flight_max,
        concerts: booked_concerts(header),
    };
    let report = Report {
        conclusion: None,
        verdict,
        thresholds: Vec::new(),
        run: facts(arguments, context, header, buyers),
        loaders: vec![loader],
        machine: Machine::this(),
        counts,
        visits: context
            .visits
            .as_ref()
            .zip(load.visits.as_ref())
            .map(|(visits, totals)| VisitReport::of(visits.arguments, totals)),
        rates: Rates::of(
            &counts,
            arrivals_seconds,
            seconds(settlements.last),
            settlements.last_sale.map(seconds),
        ),
        latencies,
        responses: data.responses.clone(),
        loader: load.loader,
        costs: load.costs,
        idle: load.idle,
        timeline: data.timeline.clone(),
        settled_by_second: settlements.by_second,
        drifts,
        baselines,
        proof,
    };
    report.concluded(&arguments.output.fail_if)
}

fn booked_concerts(header: &Header) -> Vec<BookedConcert> {
    let booked = |concert: &Concert| BookedConcert {
        id: concert.id,
        seats: concert.seats,
        free: concert.seats - concert.sold_before.len(),
        is_exclusive: header.is_exclusive,
    };
    header.concerts.iter().map(booked).collect()
}

fn facts(arguments: &RunArguments, context: &RunContext, header: &Header, buyers: u64) -> RunFacts {
    RunFacts {
        name: header.name.clone(),
        started: Timestamp::from_unix_millis(header.started).map(|at| at.to_string()).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: arguments.scenario,
        target: arguments.target,
        url: arguments.url.clone(),
        shape: arguments.shape,
        rate: arguments.rate,
        buyers,
        seats: context.seat_pool.seats.len(),
        concerts: context.seat_pool.concerts.len(),
        group_size: arguments.group_size(),
        keys: arguments.keys,
        follow: arguments.follow,
        follow_share: context.follow_share,
        seed: arguments.seed,
        journal: context.run_log.path(),
    }
}

/// When tickets were settled, by the clock of the system under test.
struct Settlements {
    count: u64,
    by_second: Vec<u64>,
    /// The last settlement and the last sale, in milliseconds from the first arrival.
    last: i64,
    last_sale: Option<i64>,
    queued: Histogram<u64>,
}

impl Settlements {
    fn of(request_log: &RequestLog, first_due: i64) -> Self {
        let mut settlements =
            Self { count: 0, by_second: Vec::new(), last: 0, last_sale: None, queued: histogram() };
        for request in &request_log.requests {
            let Some(settled_at) = request.outcome.and_then(RecordedOutcome::settled_at) else { continue };
            settlements.count += 1;
            // The clock of the system may be behind this machine's.
            let after = (settled_at - first_due).max(0);
            settlements.last = settlements.last.max(after);
            if matches!(request.outcome, Some(RecordedOutcome::Sold { .. })) {
                settlements.last_sale = settlements.last_sale.max(Some(after));
            }
            let second = usize::try_from(after / 1_000).unwrap_or_default();
            if settlements.by_second.len() <= second {
                settlements.by_second.resize(second + 1, 0);
            }
            settlements.by_second[second] += 1;
            if let Some(ticket) = request.ticket.filter(|ticket| ticket.get_version_num() == TICKET_VERSION) {
                // Both times are truncated to milliseconds, so the duration is rounded up.
                let queued = settled_at - TicketId(ticket).issued_at().unix_millis() + 1;
                settlements
                    .queued
                    .saturating_record(u64::try_from(queued).unwrap_or_default().max(1) * 1_000);
            }
        }
        settlements
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds fit")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
