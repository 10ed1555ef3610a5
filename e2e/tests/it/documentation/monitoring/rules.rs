//! The rules of deploy/prometheus.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::{files, repository};

/// A recording rule or an alert.
pub struct Rule {
    pub expr: String,
    rule: Value,
}

impl Rule {
    pub fn is_alert(&self) -> bool {
        self.rule["alert"].is_string()
    }

    /// The name of the alert, or of the series that is recorded.
    pub fn name(&self) -> &str {
        self.rule["alert"].as_str().or(self.rule["record"].as_str()).unwrap_or_default()
    }

    pub fn label(&self, name: &str) -> &str {
        self.rule["labels"][name].as_str().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> &str {
        self.rule["annotations"][name].as_str().unwrap_or_default()
    }
}

pub fn rules() -> Result<Vec<Rule>> {
    let (mut paths, mut rules) = (Vec::<PathBuf>::new(), Vec::new());
    files("deploy/prometheus/rules".as_ref(), &["yml"], &mut paths)?;
    for path in paths {
        let file = read_yaml(&path)?;
        for group in file["groups"].as_array().context("a file has no groups")? {
            for rule in group["rules"].as_array().context("a group has no rules")? {
                let expr = rule["expr"].as_str().context("a rule has no query")?.to_owned();
                rules.push(Rule { expr, rule: rule.clone() });
            }
        }
    }
    ensure!(rules.len() > 50, "only {} rules were found", rules.len());
    Ok(rules)
}

pub fn read_yaml(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(repository().join(path))?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}
