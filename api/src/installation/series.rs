//! The history as series of numbers, one for each second: what a chart shows.

use std::collections::{BTreeMap, BTreeSet};

use hamro_shared::telemetry::metrics::{LATENCIES, quantile};
use serde::Serialize;

use super::history::{Gauges, History, Parts, Second};

/// One point for each second. `null` is unknown.
type Points = Vec<Option<f64>>;

/// The seconds from `from` on. Rates are per second, durations in seconds. All series have the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Since the Unix epoch.
    from: i64,
    series: Named,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    accepted: Points,
    /// By outcome.
    settled: BTreeMap<String, Points>,
    /// By problem code.
    refused: BTreeMap<String, Points>,
    depth: Points,
    oldest_age_seconds: Points,
    drain_rate: Points,
    accept_p50: Points,
    accept_p99: Points,
    settle_p50: Points,
    settle_p99: Points,
    workers: Points,
}

impl History {
    pub fn series(&self, since: i64, until: i64) -> Series {
        let (from, seconds) = self.range(since, until);
        let points = |value: &dyn Fn(&Second) -> Option<f64>| -> Points {
            seconds
                .clone()
                .map(|second| second.is_known.then(|| value(second)).flatten().map(rounded))
                .collect()
        };
        let gauge = |get: fn(&Gauges) -> Option<f64>| points(&|second| get(&second.gauges));
        let percentile = |get: fn(&Second) -> &Parts, share| points(&|second| percentile(get(second), share));
        let named = |get: fn(&Second) -> &BTreeMap<String, f64>| {
            let names: BTreeSet<&String> = seconds.clone().flat_map(|second| get(second).keys()).collect();
            let series = names.into_iter().map(|name| {
                let rates = points(&|second| Some(get(second).get(name).copied().unwrap_or(0.0)));
                (name.clone(), rates)
            });
            series.collect()
        };
        let series = Named {
            accepted: points(&|second| Some(second.accepted)),
            settled: named(|second| &second.settled),
            refused: named(|second| &second.refused),
            depth: gauge(|gauges| gauges.depth),
            oldest_age_seconds: gauge(|gauges| gauges.oldest_age_seconds),
            drain_rate: gauge(|gauges| gauges.drain_rate),
            accept_p50: percentile(|second| &second.accept_latency, 0.5),
            accept_p99: percentile(|second| &second.accept_latency, 0.99),
            settle_p50: percentile(|second| &second.settle_latency, 0.5),
            settle_p99: percentile(|second| &second.settle_latency, 0.99),
            workers: gauge(|gauges| gauges.workers),
        };
        Series { from, series }
    }
}

/// In seconds. `None` without values.
fn percentile(parts: &Parts, share: f64) -> Option<f64> {
    // A percentile does not depend on the scale of the counts.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    let counts = parts.map(|count| (count * 1_000.0).round() as u64);
    quantile(&counts, LATENCIES, share)
}

/// To a hundredth of a millisecond, which keeps the response small.
fn rounded(value: f64) -> f64 {
    (value * 100_000.0).round() / 100_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::increase::Increase;
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn the_series_of_a_history_have_a_point_for_each_second_and_null_where_nothing_is_known() {
        let mut history = History::default();
        history.end_until(NOW, None, Gauges::default());
        let mut increase = Increase { accepted: 30, ..Increase::default() };
        // From 5 to 10 milliseconds.
        increase.accept_latency[3] = 30;
        increase.settled.insert("confirmed".to_owned(), 20);
        increase.refused.insert("queue-full".to_owned(), 5);
        history.add(NOW * 1_000, (NOW + 1) * 1_000, &increase);
        for second in [NOW + 1, NOW + 2] {
            let gauges = Gauges { depth: Some(4.0), workers: Some(2.0), ..Gauges::default() };
            history.end_until(second, Some(0), gauges);
        }
        let series = serde_json::to_value(history.series(NOW - 1, NOW + 2)).unwrap();
        let expected = json!({
            "from": NOW - 1,
            "series": {
                "accepted": [null, 30.0, 0.0],
                "settled": {"confirmed": [null, 20.0, 0.0]},
                "refused": {"queue-full": [null, 5.0, 0.0]},
                "depth": [null, 4.0, 4.0],
                "oldestAgeSeconds": [null, null, null],
                "drainRate": [null, null, null],
                "acceptP50": [null, 0.0075, null],
                "acceptP99": [null, 0.00995, null],
                "settleP50": [null, null, null],
                "settleP99": [null, null, null],
                "workers": [null, 2.0, 2.0],
            },
        });
        assert_eq!(series, expected);
    }
}
