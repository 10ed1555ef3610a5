//! What a process exports for Prometheus, parsed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// The metrics of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The text that was parsed.
    pub text: String,
    /// The type of each metric, by name.
    pub kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

/// A value. A histogram has samples whose names end in `_bucket`, `_sum` and `_count`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Metrics {
    /// Parses the text format 0.0.4, as far as the programs use it: no label value contains a quote.
    pub fn parse(text: &str) -> Result<Self> {
        let mut metrics = Self { text: text.to_owned(), ..Self::default() };
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').with_context(|| line.to_owned())?;
                metrics.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                metrics.samples.push(Sample::parse(line).with_context(|| line.to_owned())?);
            }
        }
        Ok(metrics)
    }

    /// The sum of the samples of this name that have these labels, and perhaps others. `None` if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.with(name, labels).map(|sample| sample.value).reduce(|a, b| a + b)
    }

    /// As [`Self::value`], but 0 if there is none: for counters.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels).unwrap_or_default()
    }

    fn with<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|&(label, value)| sample.labels.get(label).is_some_and(|it| it == value))
        })
    }

    /// Each time series: a name with its labels.
    pub fn series(&self) -> Vec<String> {
        self.samples.iter().map(|Sample { name, labels, .. }| format!("{name}{labels:?}")).collect()
    }

    /// The metric that a sample belongs to: without the suffix of a histogram's samples.
    pub fn metric_of<'a>(&self, sample: &'a Sample) -> &'a str {
        let name = sample.name.as_str();
        ["_bucket", "_sum", "_count"]
            .into_iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|base| self.kinds.get(*base).is_some_and(|kind| kind == "histogram"))
            .unwrap_or(name)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = match head.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (head, ""),
        };
        let mut parts = labels.split('"');
        let mut parsed = BTreeMap::new();
        while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
            parsed.insert(label.trim_matches([',', '=']).to_owned(), value.to_owned());
        }
        Some(Self { name: name.to_owned(), labels: parsed, value: value.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() -> Result<()> {
        let metrics = Metrics::parse(
            "# HELP a_total Requests.\n# TYPE a_total counter\n\
             a_total{method=\"GET\",route=\"/seats/{id}\"} 2\na_total{method=\"POST\",route=\"/seats/{id}\"} 3\n\
             # TYPE b histogram\nb_bucket{le=\"+Inf\"} 1\nb_sum 0.5\nb_count 1\nc +Inf\n",
        )?;
        assert_eq!(metrics.value("a_total", &[("route", "/seats/{id}")]), Some(5.0));
        assert_eq!(metrics.value("a_total", &[("method", "PUT")]), None);
        assert_eq!(metrics.kinds["a_total"], "counter");
        assert_eq!(metrics.metric_of(&metrics.samples[2]), "b");
        assert_eq!((metrics.series().len(), metrics.value("c", &[])), (6, Some(f64::INFINITY)));
        Ok(())
    }
}
