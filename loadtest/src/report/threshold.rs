//! Thresholds for CI: `--fail-if "settle.p99>50ms"` fails the run if the condition is true.

mod metric;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use metric::{METRICS, Metric};

use super::Report;

/// A condition under which a run fails.
#[derive(Clone, Debug)]
pub struct Threshold {
    metric: Metric,
    operator: Operator,
    /// In the base unit of the metric.
    limit: f64,
    /// As on the command line.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Two-character operators first, because they start with the others.
const OPERATORS: [(&str, Operator); 4] =
    [(">=", Operator::AtLeast), ("<=", Operator::AtMost), (">", Operator::Above), ("<", Operator::Below)];

/// A threshold and what was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// The condition, as on the command line.
    pub fail_if: String,
    /// The measured value with its unit. `None` if nothing was measured, which fails.
    pub measured: Option<String>,
    pub has_failed: bool,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let find = |(sign, operator): (&str, Operator)| {
            let (metric, limit) = text.split_once(sign)?;
            Some((metric.trim(), operator, limit.trim()))
        };
        let Some((metric, operator, limit)) = OPERATORS.into_iter().find_map(find) else {
            return Err("must be a metric, one of > >= < <=, and a value, such as settle.p99>50ms".to_owned());
        };
        let metric: Metric = metric.parse()?;
        let limit = metric.parse_value(limit)?;
        Ok(Self { metric, operator, limit, text: text.trim().to_owned() })
    }
}

impl Threshold {
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    pub fn check(&self, report: &Report) -> ThresholdResult {
        let value = self.metric.of(report);
        ThresholdResult {
            fail_if: self.text.clone(),
            measured: value.map(|value| self.metric.shown(value)),
            has_failed: value.is_none_or(|value| self.operator.holds(value, self.limit)),
        }
    }
}

impl Operator {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

impl ThresholdResult {
    pub fn word(&self) -> &'static str {
        if self.has_failed { "FAILED" } else { "passed" }
    }

    pub fn measured(&self) -> &str {
        self.measured.as_deref().unwrap_or("nothing measured")
    }
}

impl fmt::Display for ThresholdResult {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "fail if {}: {} ({})", self.fail_if, self.word(), self.measured())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::report;

    fn check(condition: &str, report: &Report) -> ThresholdResult {
        condition.parse::<Threshold>().unwrap().check(report)
    }

    #[test]
    fn a_threshold_fails_exactly_if_its_condition_is_true() {
        // Its accept p99 is 8 ms, it accepted 500/s, api used 40 % of a core and at most 70 MB.
        let report = report();
        for (condition, has_failed) in [
            ("accept.p99>7ms", true),
            ("accept.p99 > 9ms", false),
            ("accept.p99>9000µs", false),
            ("accept.p99>0.007s", true),
            ("accepted<501", true),
            ("accepted<499/s", false),
            ("accepted>=500", true),
            ("accepted<=499.9/s", false),
            ("violations>0", false),
            ("lost>=0", true),
            ("api.cpu>39%", true),
            ("api.cpu>41%", false),
            ("api.memory>69MB", true),
            ("api.memory>0.1GB", false),
            ("loader.cpu<1%", false),
        ] {
            assert_eq!(check(condition, &report).has_failed, has_failed, "{condition}");
        }
    }

    #[test]
    fn a_threshold_of_which_nothing_was_measured_fails() {
        let mut report = report();
        report.latencies.settle = None;
        for condition in ["settle.p99>3600s", "settle.p99<1ms", "postgres.memory>1MB"] {
            let result = check(condition, &report);
            assert!(result.has_failed && result.measured.is_none(), "{condition}");
            assert!(result.to_string().ends_with("FAILED (nothing measured)"), "{result}");
        }
    }

    #[test]
    fn a_result_names_the_condition_and_the_measured_value() {
        let result = check("accept.p99>5ms", &report());
        assert_eq!(result.to_string(), "fail if accept.p99>5ms: FAILED (8.00 ms)");
    }

    #[test]
    fn an_unknown_metric_or_unit_is_rejected_with_the_list_of_those_that_exist() {
        for (invalid, part) in [
            ("speed>5ms", "accept, settle"),
            ("settle.p98>5ms", ".p999"),
            ("settle.p99>5", "µs, ms or s"),
            ("settle.p99>5MB", "µs, ms or s"),
            ("accepted<5%", "accepted is a rate"),
            ("lost>1ms", "lost is a number"),
            ("api.cpu>50MB", "%"),
            ("api.memory>50", "MB or GB"),
            ("settle.p99", "such as settle.p99>50ms"),
            ("settle.p99>fast", "µs, ms or s"),
            ("settle.p99>-1ms", "µs, ms or s"),
        ] {
            let error = invalid.parse::<Threshold>().unwrap_err();
            assert!(error.contains(part), "{invalid}: {error}");
        }
    }
}
