//! What visitors of the page requested and received, in the scenario `opening`.

use serde::{Deserialize, Serialize};

use super::Report;
use super::numbers::{counted, grouped, per_second};
use super::summary::table;
use crate::arguments::OpeningArguments;
use crate::visits::{StreamCounts, VisitCounts, VisitTotals};

/// The latency of a visit is in [`super::Latencies`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisitReport {
    pub warm_share: f64,
    pub book_share: f64,
    #[serde(flatten)]
    pub counts: VisitCounts,
    /// `None` if visitors open none.
    pub streams: Option<StreamCounts>,
}

impl VisitReport {
    pub fn of(arguments: OpeningArguments, totals: &VisitTotals) -> Self {
        Self {
            warm_share: arguments.warm_share,
            book_share: arguments.book_share,
            counts: totals.counts.clone(),
            streams: arguments.streams.then_some(totals.streams),
        }
    }

    /// Adds what another load generator counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        if let Some(StreamCounts { opened, refused, not_tried, received_bytes }) = other.streams {
            let sum = self.streams.get_or_insert_default();
            sum.opened += opened;
            sum.refused += refused;
            sum.not_tried += not_tried;
            sum.received_bytes += received_bytes;
        }
    }

    /// What visitors do, for the first sentence of a report.
    pub fn intent(&self) -> String {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let streams = if self.streams.is_some() { ", all watch the event stream" } else { "" };
        format!(
            "{} have seen it before, {} book{streams}",
            percent(self.warm_share),
            percent(self.book_share)
        )
    }
}

impl Report {
    /// Complete visits per second, if there were visits.
    pub fn visit_rate(&self) -> Option<f64> {
        let visits = self.visits.as_ref()?;
        Some(super::per_second(visits.counts.complete, self.rates.arrivals_seconds))
    }

    /// Names and values of what visitors received. Empty if there were no visits.
    pub fn visit_rows(&self) -> Vec<[String; 2]> {
        let Some(visits) = &self.visits else { return Vec::new() };
        let counts = &visits.counts;
        let rate = |count: u64| super::per_second(count, self.rates.arrivals_seconds);
        let mut rows = vec![
            ("visits, complete", per_second(rate(counts.complete))),
            ("their requests", per_second(rate(counts.requests))),
            ("requests per visit", format!("{:.1}", ratio(counts.requests, counts.all()))),
            ("unchanged (304)", format!("{:.1} %", 100.0 * ratio(counts.not_modified, counts.requests))),
            ("bodies received", format!("{:.2} MB/s", rate(counts.received_bytes) / 1e6)),
            ("bodies, decompressed", format!("{:.2} MB/s", rate(counts.decoded_bytes) / 1e6)),
        ];
        if counts.failed > 0 {
            rows.push(("visits, failed", grouped(counts.failed)));
        }
        if let Some(streams) = visits.streams {
            rows.push(("event streams opened", grouped(streams.opened)));
            rows.push(("event streams refused by the target", grouped(streams.refused)));
            if streams.not_tried > 0 {
                let what = "event streams not tried, for lack of open files";
                rows.push((what, grouped(streams.not_tried)));
            }
            rows.push(("events received", format!("{:.2} MB/s", rate(streams.received_bytes) / 1e6)));
        }
        let mut rows: Vec<[String; 2]> =
            rows.into_iter().map(|(name, value)| [name.to_owned(), value]).collect();
        let failures = counts.failures.iter();
        rows.extend(failures.map(|(failure, count)| [format!("failed: {failure}"), grouped(*count)]));
        rows
    }
}

/// The table of visits. Empty if there were none.
pub fn visit_table(report: &Report) -> String {
    let rows = report.visit_rows();
    if rows.is_empty() { String::new() } else { table(["visits of the page", ""], rows) }
}

/// The sign that failed visits are, if there were any.
pub fn failed_visits(report: &Report) -> Option<String> {
    let counts = &report.visits.as_ref().filter(|visits| visits.counts.failed > 0)?.counts;
    Some(format!(
        "{} of {} failed",
        grouped(counts.failed),
        counted(counts.all(), "visit of the page", "visits of the page")
    ))
}

#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::example;

    fn visits() -> VisitReport {
        VisitReport {
            warm_share: 0.2,
            book_share: 0.1,
            counts: VisitCounts {
                complete: 9_990,
                failed: 10,
                requests: 60_000,
                not_modified: 6_000,
                received_bytes: 40_000_000,
                decoded_bytes: 400_000_000,
                failures: BTreeMap::from([("status-503 of /".into(), 10)]),
            },
            streams: Some(StreamCounts {
                opened: 900,
                refused: 90,
                not_tried: 10,
                received_bytes: 20_000_000,
            }),
        }
    }

    #[test]
    fn visits_are_reported_with_the_requests_behind_them() {
        let report = Report { visits: Some(visits()), ..example::report() };
        let rows = report.visit_rows();
        for row in [
            ["visits, complete", "500/s"],
            ["their requests", "3 000/s"],
            ["requests per visit", "6.0"],
            ["unchanged (304)", "10.0 %"],
            ["bodies received", "2.00 MB/s"],
            ["bodies, decompressed", "20.00 MB/s"],
            ["event streams refused by the target", "90"],
            ["failed: status-503 of /", "10"],
        ] {
            assert!(rows.contains(&row.map(str::to_owned)), "{row:?} is not in {rows:?}");
        }
        assert_eq!(failed_visits(&report).unwrap(), "10 of 10 000 visits of the page failed");
        assert!(visit_table(&example::report()).is_empty());
    }

    #[test]
    fn the_visits_of_several_load_generators_add() {
        let mut sum = visits();
        sum.add(&visits());
        let counts = &sum.counts;
        assert_eq!(
            (counts.all(), counts.requests, counts.failures["status-503 of /"]),
            (20_000, 120_000, 20)
        );
        assert_eq!(sum.streams.unwrap().opened, 1_800);
    }
}
