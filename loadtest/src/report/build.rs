//! Builds the report of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hamro_shared::domain::{TicketId, Timestamp};
use hdrhistogram::Histogram;

use super::{
    BaselineReport, Ending, Evidence, Latencies, Latency, Rates, Report, RunFacts, Verdict, drifts, lag_limit,
};
use crate::arguments::RunArguments;
use crate::metrics::histogram;
use crate::run_context::RunContext;
use hamro_verification::journal::Header;
use hamro_verification::machine::{LoaderCost, Machine};
use hamro_verification::processes::Cost;
use hamro_verification::proof::Proof;
use hamro_verification::request_log::{RecordedOutcome, RequestLog};

/// The facts about the load phase.
pub struct Seen {
    pub ending: Ending,
    /// When the first buyer was due.
    pub begin: Instant,
    /// How long buyers arrived.
    pub arrivals: Duration,
    pub loader: LoaderCost,
    /// CPU time of the named processes while buyers arrived. It excludes the time in which the queue drained.
    pub costs: BTreeMap<String, Cost>,
}

/// UUID version of ticket ids that contain their time of issue. Other systems may use random ids.
const TICKET_VERSION: usize = 8;

pub(crate) fn build(
    arguments: &RunArguments,
    context: &RunContext,
    header: &Header,
    buyers: u64,
    seen: Seen,
    baselines: Vec<BaselineReport>,
    proof: Proof,
) -> Report {
    let begun_at = header.started + millis(seen.begin.saturating_duration_since(context.start));
    let ends = Ends::of(&context.run_log.request_log(), begun_at);
    let data = context.metrics.read();
    let latencies = Latencies {
        lag: Latency::of_any(&data.lag),
        accept: Latency::of(&data.accept),
        settle: Latency::of(&data.settle),
        poll: Latency::of(&data.poll),
        queued: Latency::of(&ends.queued),
    };
    let drifts = drifts(&data.timeline);
    let verdict = Verdict::of(&Evidence {
        scenario: arguments.scenario,
        ending: seen.ending,
        proof: &proof,
        latencies: &latencies,
        drifts: &drifts,
        lag_limit: arguments.lag_max.unwrap_or_else(|| lag_limit(&latencies)),
        waited: context.booking.client.waited(),
        in_flight_max: arguments.in_flight_max,
    });
    let seconds = seen.arrivals.as_secs_f64();
    let ended = ends.last_seconds().max(f64::MIN_POSITIVE);
    Report {
        run: facts(arguments, context, header, buyers),
        machine: Machine::this(),
        rates: Rates {
            arrivals_seconds: seconds,
            started: per_second(data.started, seconds),
            accepted: per_second(data.accepted, seconds),
            settled: if ends.count == 0 { 0.0 } else { per_second(ends.count, ended) },
            drain_seconds: (ended - seconds).max(0.0),
        },
        latencies,
        responses: data.responses.clone(),
        loader: seen.loader,
        costs: seen.costs,
        timeline: data.timeline.clone(),
        ended: ends.by_second,
        drifts,
        baselines,
        proof,
        verdict,
    }
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
struct Ends {
    count: u64,
    by_second: Vec<u64>,
    /// Milliseconds from the first arrival.
    last: i64,
    queued: Histogram<u64>,
}

impl Ends {
    fn of(request_log: &RequestLog, begun_at: i64) -> Self {
        let mut ends = Self { count: 0, by_second: Vec::new(), last: 0, queued: histogram() };
        for request in &request_log.requests {
            let Some(settled_at) = request.outcome.and_then(RecordedOutcome::settled_at) else { continue };
            ends.count += 1;
            // The clock of the system may be behind this machine's.
            let after = (settled_at - begun_at).max(0);
            ends.last = ends.last.max(after);
            let second = usize::try_from(after / 1_000).unwrap_or_default();
            if ends.by_second.len() <= second {
                ends.by_second.resize(second + 1, 0);
            }
            ends.by_second[second] += 1;
            if let Some(ticket) = request.ticket.filter(|ticket| ticket.get_version_num() == TICKET_VERSION) {
                // Both times are truncated to milliseconds, so the duration is rounded up.
                let queued = settled_at - TicketId(ticket).issued_at().unix_millis() + 1;
                ends.queued.saturating_record(u64::try_from(queued).unwrap_or_default().max(1) * 1_000);
            }
        }
        ends
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds fit")]
    fn last_seconds(&self) -> f64 {
        self.last as f64 / 1e3
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-3)
}
