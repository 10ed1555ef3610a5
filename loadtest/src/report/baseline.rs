//! Comparisons with what the services reach alone on the same machine.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use hamro_verification::baseline::{BaselineResult, Stage};
use hamro_verification::machine::Machine;

use super::Report;
use super::limit::Limit;
use super::numbers::per_second;

/// The results of one `baseline` command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineReport {
    /// RFC 3339.
    pub measured: String,
    pub machine: Machine,
    #[serde(alias = "figures")]
    pub results: Vec<BaselineResult>,
}

impl BaselineReport {
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&json)
            .with_context(|| format!("{} is not an output of `baseline`", path.display()))
    }
}

/// A run that the target did not limit is compared only if it reached this share: a rate that nobody asked for says
/// nothing about the target.
const SHARE_WORTH_SAYING: f64 = 0.1;

/// Sentences about the baselines that were measured on the same machine.
pub fn comparisons(report: &Report, limit: Limit) -> Vec<String> {
    let same_machine = report.baselines.iter().filter(|baseline| baseline.machine == report.machine);
    same_machine
        .flat_map(|baseline| &baseline.results)
        .filter_map(|result| comparison(report, limit, result))
        .collect()
}

fn comparison(report: &Report, limit: Limit, baseline: &BaselineResult) -> Option<String> {
    let (what, rate) = match baseline.stage {
        Stage::Accept => ("accepted", report.rates.accepted),
        Stage::Settle => ("settled", report.rates.settled),
    };
    let share = rate / baseline.bookings_per_second;
    (limit == Limit::Target || share >= SHARE_WORTH_SAYING).then(|| {
        let more = if limit == Limit::Target { "" } else { "; the run asked for no more" };
        format!(
            "The target {what} {:.0} % of what this machine reaches with {} alone ({}){more}.",
            100.0 * share,
            baseline.what,
            per_second(baseline.bookings_per_second)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::report;

    fn with_baseline(bookings_per_second: f64) -> Report {
        let mut report = report();
        let what = "confirmed publishing, 1 booking per message".to_owned();
        let results = vec![BaselineResult { what, stage: Stage::Accept, bookings_per_second }];
        let machine = report.machine.clone();
        report.baselines.push(BaselineReport { measured: String::new(), machine, results });
        report
    }

    #[test]
    fn a_comparison_is_said_in_words() {
        let said = comparisons(&with_baseline(1_087.0), Limit::Target);
        let expected = "The target accepted 46 % of what this machine reaches with confirmed publishing, 1 booking per message \
                        alone (1 087/s).";
        assert_eq!(said, [expected]);
        let said = comparisons(&with_baseline(1_087.0), Limit::Schedule);
        assert!(said[0].ends_with("(1 087/s); the run asked for no more."), "{said:?}");
    }

    #[test]
    fn a_comparison_that_says_nothing_is_left_out() {
        let far = with_baseline(737_461.0);
        assert!(comparisons(&far, Limit::Schedule).is_empty());
        assert_eq!(comparisons(&far, Limit::Target).len(), 1);
        let mut elsewhere = with_baseline(1_087.0);
        elsewhere.baselines[0].machine.cores = 64;
        assert!(comparisons(&elsewhere, Limit::Target).is_empty());
    }
}
