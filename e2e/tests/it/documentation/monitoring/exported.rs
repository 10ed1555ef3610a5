//! What can be queried: the metrics of docs/METRICS.md, which another test compares with what the programs export, those of
//! Prometheus itself, and what the rules record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Result, ensure};

use super::super::{files, repository};
use super::rules::Rule;

pub struct Exported {
    metrics: BTreeMap<String, Metric>,
}

struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

impl Exported {
    pub fn read(rules: &[Rule]) -> Result<Self> {
        let page = fs::read_to_string(repository().join("docs/METRICS.md"))?;
        let mut metrics: BTreeMap<_, _> = page.lines().filter_map(metric).collect();
        ensure!(metrics.len() > 40, "docs/METRICS.md lists only {} metrics", metrics.len());
        let own = |labels: &[&str]| Metric {
            kind: "gauge".to_owned(),
            labels: with_target(labels.iter().copied()),
        };
        metrics.insert("up".to_owned(), own(&[]));
        metrics.insert("ALERTS".to_owned(), own(&["alertname", "alertstate", "severity"]));
        for rule in rules.iter().filter(|rule| !rule.is_alert()) {
            metrics.insert(rule.name().to_owned(), own(&["slo"]));
        }
        Ok(Self { metrics })
    }

    /// The labels of the series. `None` if there is no such series.
    pub fn labels(&self, series: &str) -> Option<BTreeSet<String>> {
        if let Some(metric) = self.metrics.get(series) {
            return (metric.kind != "histogram").then(|| metric.labels.clone());
        }
        let (name, suffix) = series.rsplit_once('_')?;
        let metric = self.metrics.get(name).filter(|metric| metric.kind == "histogram")?;
        let mut labels = metric.labels.clone();
        match suffix {
            "bucket" => _ = labels.insert("le".to_owned()),
            "sum" | "count" => {}
            _ => return None,
        }
        Some(labels)
    }
}

/// A row of the page: name, type, labels and meaning.
fn metric(line: &str) -> Option<(String, Metric)> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
    let [name, kind, labels, ..] = cells[..] else { return None };
    let labels = labels.split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
    let metric = Metric { kind: kind.to_owned(), labels: with_target(labels) };
    ["counter", "gauge", "histogram"].contains(&kind).then(|| (name.trim_end_matches('`').to_owned(), metric))
}

/// Prometheus adds the job and the instance.
fn with_target<'a>(labels: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    labels.into_iter().chain(["job", "instance"]).map(str::to_owned).collect()
}

/// The string literals in the sources of the programs.
pub fn string_literals() -> Result<BTreeSet<String>> {
    let (mut paths, mut literals) = (Vec::new(), BTreeSet::new());
    for sources in ["api/src", "worker/src", "shared/src"] {
        files(sources.as_ref(), &["rs"], &mut paths)?;
    }
    for path in paths {
        let text = fs::read_to_string(repository().join(path))?;
        literals.extend(text.split('"').map(str::to_owned));
    }
    Ok(literals)
}
