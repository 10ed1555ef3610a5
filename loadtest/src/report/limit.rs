//! Finds what limited a run: the schedule, the load generator, the target, or the number of seats.

use serde::{Deserialize, Serialize};

use super::drift::median;
use super::latency::shown;
use super::numbers::{counted, grouped, per_second, seconds};
use super::visits::failed_visits;
use super::{Loader, Report};
use crate::metrics::Second;

/// What limited a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The run was interrupted.
    Interruption,
    /// The load generator was late or ran out of connections, so the results describe it rather than the target.
    Loader,
    /// The target did not keep up with the schedule.
    Target,
    /// All seats were sold.
    Seats,
    /// The target kept up.
    Schedule,
}

/// The queue counts as grown if it holds at least the bookings of this many seconds at the end,
const QUEUED_SECONDS: f64 = 0.25;
/// and if this share of the accepted bookings was not settled in time.
const GROWTH_SHARE: f64 = 0.02;
/// At any time, a queue of this many seconds and bookings shows that the target did not keep up.
const PEAK_SECONDS: f64 = 1.0;
const PEAK_BOOKINGS: f64 = 100.0;
/// The accept p99 counts as risen if it is this many times as high at the end, and by as many microseconds higher.
const RISE_FACTOR: u64 = 2;
const RISE_MICROS: u64 = 50_000;
/// Tickets settled later than this after the last arrival show that the target did not keep up: in seconds, and as a
/// share of the time of the arrivals.
const DRAIN_SECONDS: f64 = 1.0;
const DRAIN_SHARE: f64 = 0.05;
/// A machine is busy if its processes use this share of its cores.
const BUSY_SHARE: f64 = 0.9;

/// What limited the run, and the sentence that says so.
pub fn find(report: &Report) -> (Limit, String) {
    let signs = target_signs(report);
    let late: Vec<&Loader> = report.loaders.iter().filter(|loader| loader.was_late()).collect();
    let waited: u64 = report.loaders.iter().map(|loader| loader.waited).sum();
    if report.verdict.was_interrupted {
        let after = seconds(report.rates.arrivals_seconds);
        return (Limit::Interruption, format!("Limited by an interruption {after} after the first arrival."));
    }
    if report.verdict.target_stopped {
        return (Limit::Target, format!("Limited by the target: it stopped responding.{}", cpu(report)));
    }
    if let Some(loader) = late.first() {
        return (Limit::Loader, late_loader(loader));
    }
    if waited > 0 && signs.is_empty() {
        let what = format!(
            "Limited by the load generator: {} waited for one of its connections (--in-flight-max).",
            counted(waited, "request", "requests")
        );
        return (Limit::Loader, what);
    }
    if !signs.is_empty() {
        return (Limit::Target, format!("Limited by the target: {}.{}", signs.join("; "), cpu(report)));
    }
    match sold_out(report) {
        Some(after) => (
            Limit::Seats,
            format!(
                "Limited by the number of seats: all {} were sold {} after the first arrival. The target kept up.",
                grouped(report.run.seats as u64),
                seconds(after)
            ),
        ),
        None => {
            (Limit::Schedule, format!("Limited only by the schedule: the target kept up.{}", cpu(report)))
        }
    }
}

fn late_loader(loader: &Loader) -> String {
    format!(
        "Limited by the load generator on {} × {}: 1 % of its requests started more than {} late (allowed: {}). The \
         results describe the load generator rather than the target.",
        loader.machine.cores,
        loader.machine.processor,
        shown(loader.lag_p99),
        shown(loader.lag_limit)
    )
}

/// When the last seat was sold, if all were, in seconds from the first arrival.
fn sold_out(report: &Report) -> Option<f64> {
    let all = report.run.seats > 0 && report.proof.seats_sold >= report.run.seats as u64;
    report.rates.last_sale_seconds.filter(|_| all && report.proof.rejected > 0)
}

/// Signs that the target did not keep up with the schedule.
fn target_signs(report: &Report) -> Vec<String> {
    let rates = &report.rates;
    let mut signs = Vec::new();
    // Only the seconds in which buyers arrived.
    let busy: Vec<&Second> = report.timeline.iter().filter(|second| second.is_busy()).collect();
    signs.extend(queue_growth(&busy, rates.accepted));
    let quarter = busy.len() / 4;
    let p99 = |seconds: &[&Second]| median(seconds, &|second| second.accept_p99);
    if let Some((first, last)) = p99(&busy[..quarter]).zip(p99(&busy[busy.len() - quarter..]))
        && last >= (first * RISE_FACTOR).max(first + RISE_MICROS)
    {
        signs.push(format!("accept p99 rose from {} to {}", shown(first), shown(last)));
    }
    let waited: u64 = report.loaders.iter().map(|loader| loader.waited).sum();
    if waited > 0 && !signs.is_empty() {
        signs.push("requests piled up until all connections of the load generator were in use".to_owned());
    }
    signs.extend(failed_visits(report));
    if rates.drain_seconds > DRAIN_SECONDS.max(DRAIN_SHARE * rates.arrivals_seconds) {
        let after = seconds(rates.drain_seconds);
        signs.push(format!("the last ticket was settled {after} after the last arrival"));
    }
    signs
}

/// `accepted` is the average rate.
fn queue_growth(busy: &[&Second], accepted: f64) -> Option<String> {
    let peak = count(busy.iter().filter_map(|second| second.queue).max()?);
    let highest_rate = busy.iter().map(|second| count(second.accepted)).fold(0.0, f64::max);
    let quarter = busy.len() / 4;
    let queue = |seconds: &[&Second]| median(seconds, &|second| second.queue).map(count);
    if let Some((first, last)) = queue(&busy[..quarter]).zip(queue(&busy[busy.len() - quarter..])) {
        // The middles of the two quarters are three quarters of the time apart.
        let growth = (last - first) / (0.75 * count(busy.len() as u64));
        if last >= (QUEUED_SECONDS * accepted).max(PEAK_BOOKINGS) && growth >= GROWTH_SHARE * accepted {
            return Some(format!("the queue grew by {} and reached {}", per_second(growth), bookings(peak)));
        }
    }
    let is_long = peak >= (PEAK_SECONDS * highest_rate).max(PEAK_BOOKINGS);
    is_long.then(|| format!("the queue reached {}", bookings(peak)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bookings")]
fn bookings(number: f64) -> String {
    counted(number as u64, "booking", "bookings")
}

/// Which process used the most CPU time, and whether the machine was busy. Starts with a space.
fn cpu(report: &Report) -> String {
    let Some((name, cost)) =
        report.costs.iter().max_by(|(_, a), (_, b)| a.cpu_percent.total_cmp(&b.cpu_percent))
    else {
        return " No process of the target was watched (--watch).".to_owned();
    };
    let text = format!(
        " Of the watched processes, {name} used the most CPU time: {:.0} % of one core.",
        cost.cpu_percent
    );
    let all: f64 = report.all_costs().map(|(_, cost)| cost.cpu_percent).sum();
    let available = 100.0 * count(report.machine.cores as u64);
    // The processes of several load generators run on several machines.
    if report.loaders.len() == 1 && all >= BUSY_SHARE * available {
        format!(
            "{text} The machine was busy: with the load generator they used {all:.0} % of {available:.0} %."
        )
    } else {
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::report;

    /// A run of 20 s whose seconds are changed by `change`, which receives the number of each.
    fn with_timeline(change: impl Fn(u64, &mut Second)) -> Report {
        let mut report = report();
        for (number, second) in (0..).zip(&mut report.timeline) {
            change(number, second);
        }
        report
    }

    fn assert_limit(report: &Report, limit: Limit, parts: &[&str]) {
        let (found, sentence) = find(report);
        assert_eq!(found, limit, "{sentence}");
        for part in parts {
            assert!(sentence.contains(part), "{sentence:?} does not contain {part:?}");
        }
    }

    #[test]
    fn a_target_that_keeps_up_is_limited_by_the_schedule() {
        assert_limit(
            &report(),
            Limit::Schedule,
            &["kept up", "api used the most CPU time: 40 % of one core"],
        );
    }

    #[test]
    fn a_growing_queue_shows_that_the_target_is_the_limit() {
        let report = with_timeline(|number, second| second.queue = Some(number * 100));
        assert_limit(&report, Limit::Target, &["the queue grew by 100/s and reached 1 900 bookings"]);
    }

    #[test]
    fn a_short_overload_shows_that_the_target_is_the_limit() {
        let report = with_timeline(|number, second| {
            second.queue = Some(if (8..12).contains(&number) { 2_000 } else { 3 });
        });
        assert_limit(&report, Limit::Target, &["the queue reached 2 000 bookings"]);
    }

    #[test]
    fn a_queue_that_is_long_but_does_not_grow_much_is_no_sign() {
        let report = with_timeline(|number, second| second.queue = Some(100 + number % 3 * 40));
        assert_limit(&report, Limit::Schedule, &[]);
    }

    #[test]
    fn a_rising_accept_p99_shows_that_the_target_is_the_limit() {
        let report = with_timeline(|number, second| second.accept_p99 = Some(8_000 + number * 20_000));
        assert_limit(&report, Limit::Target, &["accept p99 rose from 48.0 ms to 348 ms"]);
    }

    #[test]
    fn a_long_drain_and_a_busy_machine_are_named() {
        let mut report = report();
        report.rates.drain_seconds = 8.3;
        report.costs.get_mut("api").unwrap().cpu_percent = 187.0;
        let parts = ["settled 8.3 s after the last arrival", "The machine was busy", "192 % of 200 %"];
        assert_limit(&report, Limit::Target, &parts);
    }

    #[test]
    fn a_late_load_generator_is_the_limit_whatever_the_target_did() {
        let mut report = with_timeline(|number, second| second.queue = Some(number * 100));
        report.loaders[0].lag_p99 = 12_000;
        assert_limit(&report, Limit::Loader, &["started more than 12.0 ms late (allowed: 5.00 ms)"]);
    }

    #[test]
    fn used_up_connections_are_the_load_generators_limit_unless_the_target_slowed_down() {
        let mut loader = report();
        loader.loaders[0].waited = 3;
        assert_limit(&loader, Limit::Loader, &["3 requests waited", "--in-flight-max"]);
        let mut target = with_timeline(|number, second| second.accept_p99 = Some(8_000 + number * 20_000));
        target.loaders[0].waited = 3;
        assert_limit(&target, Limit::Target, &["piled up until all connections"]);
    }

    #[test]
    fn a_sold_out_concert_is_the_limit_if_the_target_kept_up() {
        let mut report = report();
        (report.proof.seats_sold, report.proof.rejected) = (300, 9_700);
        report.rates.last_sale_seconds = Some(1.44);
        assert_limit(&report, Limit::Seats, &["all 300 were sold 1.4 s after the first arrival"]);
    }

    #[test]
    fn an_interrupted_run_and_a_silent_target_are_said_first() {
        let mut report = report();
        report.verdict.target_stopped = true;
        assert_limit(&report, Limit::Target, &["it stopped responding"]);
        report.verdict.was_interrupted = true;
        assert_limit(&report, Limit::Interruption, &["20 s after the first arrival"]);
    }
}
