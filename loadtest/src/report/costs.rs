//! CPU time of the processes, and what the idle system takes of it.

use super::Report;
use super::summary::table;

/// The CPU time of a process while buyers arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct CostRow {
    pub name: String,
    /// Per buyer or request, in microseconds.
    pub micros: f64,
    /// The part that the process also takes when nobody buys. `None` if it was not measured.
    pub idle_micros: Option<f64>,
    /// Of one core.
    pub percent: f64,
}

/// The name of the sum of all watched processes.
const SYSTEM: &str = "the system, all together";

impl CostRow {
    /// What buyers cost. The difference may be below zero by the error of the measurement.
    pub fn own_micros(&self) -> Option<f64> {
        self.idle_micros.map(|idle| self.micros - idle)
    }
}

impl Report {
    /// What `micros` of a cost are counted by.
    pub fn cost_unit(&self) -> &'static str {
        if self.run.scenario.is_counted_by_buyer() { "buyer" } else { "request" }
    }

    /// The number of buyers or requests among which the CPU time is divided.
    pub fn cost_basis(&self) -> u64 {
        self.visits.as_ref().map_or(self.counts.started, |visits| visits.counts.all())
    }

    /// Each watched process, their sum if the idle system was measured, and the load generator.
    pub fn cost_rows(&self) -> Vec<CostRow> {
        let mut rows: Vec<CostRow> = self
            .costs
            .iter()
            .map(|(name, cost)| CostRow {
                name: name.clone(),
                micros: cost.cpu_micros_a_request,
                idle_micros: self.idle.get(name).map(|percent| self.micros_of(*percent)),
                percent: cost.cpu_percent,
            })
            .collect();
        if !self.idle.is_empty() {
            rows.push(CostRow {
                name: SYSTEM.to_owned(),
                micros: rows.iter().map(|row| row.micros).sum(),
                idle_micros: Some(rows.iter().filter_map(|row| row.idle_micros).sum()),
                percent: rows.iter().map(|row| row.percent).sum(),
            });
        }
        let loader = &self.loader.cpu;
        rows.push(CostRow {
            name: "load generator".to_owned(),
            micros: loader.cpu_micros_a_request,
            idle_micros: None,
            percent: loader.cpu_percent,
        });
        rows
    }

    /// What a process takes per buyer if it takes this share of a core all the time.
    #[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
    fn micros_of(&self, percent: f64) -> f64 {
        percent / 100.0 * self.rates.arrivals_seconds * 1e6 / self.cost_basis().max(1) as f64
    }
}

/// CPU time per buyer or request and process.
pub fn cost_table(report: &Report) -> String {
    let per = format!("per {}", report.cost_unit());
    let micros = |micros: f64| format!("{micros:.1} µs");
    let rows = report.cost_rows();
    if report.idle.is_empty() {
        let rows =
            rows.into_iter().map(|row| [row.name, micros(row.micros), format!("{:.0} %", row.percent)]);
        return table(["CPU time", &per, "of one core"], rows);
    }
    let rows = rows.into_iter().map(|row| {
        let optional = |value: Option<f64>| value.map(micros).unwrap_or_default();
        let (idle, own) = (optional(row.idle_micros), optional(row.own_micros()));
        [row.name, micros(row.micros), idle, own, format!("{:.0} %", row.percent)]
    });
    table(["CPU time", &per, "of which idle", "without idle", "of one core"], rows)
}

#[cfg(test)]
mod tests {
    use hamro_verification::processes::Cost;

    use super::*;
    use crate::report::example::report;

    #[test]
    fn the_idle_cost_is_told_apart_from_what_buyers_cost() {
        // 10 000 buyers in 20 s: 1 % of a core is 20 µs for each of them.
        let mut report = report();
        let cost = Cost { cpu_percent: 10.0, cpu_micros_a_request: 200.0 };
        report.costs.insert("worker".to_owned(), cost);
        assert!(cost_table(&report).contains("per buyer") && !cost_table(&report).contains("idle"));
        report.idle.extend([("api".to_owned(), 1.0), ("worker".to_owned(), 2.5)]);
        let rows = report.cost_rows();
        let found: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.micros, row.own_micros())).collect();
        let expected = [
            ("api", 800.0, Some(780.0)),
            ("worker", 200.0, Some(150.0)),
            (SYSTEM, 1_000.0, Some(930.0)),
            ("load generator", 100.0, None),
        ];
        assert_eq!(found, expected);
        let text = cost_table(&report);
        assert!(text.contains("930.0 µs") && text.contains("70.0 µs") && text.contains("50 %"), "{text}");
    }
}
