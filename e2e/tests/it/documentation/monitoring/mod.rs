//! The alert rules and the dashboard query metrics and labels that the programs export, and docs/RUNBOOK.md has a section
//! for each alert. `promtool test rules` tests what the rules do.

mod exported;
mod promql;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::exported::{Exported, string_literals};
use self::promql::Query;
use self::rules::{Rule, read_yaml, rules};
use super::{assert_none, files, repository, section};

const HEALTHY: &str = "deploy/prometheus/tests/healthy.yml";

/// The queries of the rules and of the dashboard, each with the name of its rule or panel.
fn queries() -> Result<Vec<(String, Query)>> {
    let mut texts: Vec<(String, String)> =
        rules()?.into_iter().map(|rule| (rule.name().to_owned(), rule.expr)).collect();
    let panels = panels()?;
    for panel in &panels {
        let title = panel["title"].as_str().unwrap_or_default();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().with_context(|| format!("{title} has no query"))?;
            texts.push((title.to_owned(), expr.replace("$__rate_interval", "5m")));
        }
    }
    ensure!(texts.len() > 100, "only {} queries were found", texts.len());
    texts.into_iter().map(|(name, text)| Ok((name, Query::parse(&text)?))).collect()
}

fn panels() -> Result<Vec<Value>> {
    let mut dashboards = Vec::new();
    files("deploy/grafana/dashboards".as_ref(), &["json"], &mut dashboards)?;
    let mut panels = Vec::new();
    for path in dashboards {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(repository().join(path))?)?;
        panels.extend(dashboard["panels"].as_array().context("a dashboard has no panels")?.clone());
    }
    ensure!(panels.len() > 20, "only {} panels were found", panels.len());
    Ok(panels)
}

#[test]
fn every_query_of_an_alert_or_a_panel_names_metrics_and_labels_that_are_exported() -> Result<()> {
    let exported = Exported::read(&rules()?)?;
    let mut problems = Vec::new();
    for (name, query) in queries()? {
        let mut known = BTreeSet::new();
        for selector in &query.selectors {
            let Some(labels) = exported.labels(&selector.metric) else {
                problems.push(format!("{name}: {}", selector.metric));
                continue;
            };
            let unknown = selector.matchers.iter().filter(|(label, _)| !labels.contains(label));
            problems.extend(
                unknown.map(|(label, _)| format!("{name}: {} has no label {label}", selector.metric)),
            );
            known.extend(labels);
        }
        let unknown = query.grouping.iter().filter(|label| !known.contains(*label));
        problems.extend(unknown.map(|label| format!("{name}: no metric of the query has the label {label}")));
    }
    assert_none(&problems);
    Ok(())
}

#[test]
fn every_value_of_a_label_in_a_query_is_written_in_the_programs() -> Result<()> {
    // Prometheus sets the first ones, and the others are patterns of what the HTTP server routes.
    const EXEMPT: &[&str] = &["alertstate", "job", "le", "slo", "method", "route", "status"];
    let literals = string_literals()?;
    let (mut problems, mut found) = (Vec::new(), 0);
    for (name, query) in queries()? {
        for (label, value) in query.selectors.iter().flat_map(|selector| &selector.matchers) {
            if EXEMPT.contains(&label.as_str()) {
                continue;
            }
            found += 1;
            let unknown = value.split('|').filter(|value| !literals.contains(*value));
            problems.extend(unknown.map(|value| format!("{name}: {label}={value:?}")));
        }
    }
    assert_none(&problems);
    ensure!(found > 5, "only {found} labels were found");
    Ok(())
}

#[test]
fn every_alert_has_a_severity_texts_and_a_section_of_the_runbook() -> Result<()> {
    let runbook = fs::read_to_string(repository().join("docs/RUNBOOK.md"))?;
    let (_, alerts_section) = runbook.split_once("\n## Alerts\n").context("there is no section Alerts")?;
    let alerts_section = alerts_section.split("\n## ").next().unwrap_or_default();
    let described: BTreeSet<&str> =
        alerts_section.lines().filter_map(|line| line.strip_prefix("#### ")).collect();
    let (mut problems, mut alerts) = (Vec::new(), BTreeSet::new());
    for rule in rules()?.into_iter().filter(Rule::is_alert) {
        let name = rule.name().to_owned();
        let url = format!("docs/RUNBOOK.md#{}", name.to_lowercase());
        let is_complete = ["critical", "warning"].contains(&rule.label("severity"))
            && !rule.annotation("summary").is_empty()
            && !rule.annotation("description").is_empty()
            && rule.annotation("runbook_url") == url;
        if !is_complete || !alerts_section.lines().filter_map(section).any(|it| it == name.to_lowercase()) {
            problems.push(name.clone());
        }
        alerts.insert(name);
    }
    problems.extend(
        described
            .into_iter()
            .filter(|name| !alerts.contains(*name))
            .map(|name| format!("{name} is no alert")),
    );
    assert_none(&problems);
    ensure!(alerts.len() > 25, "only {} alerts were found", alerts.len());
    Ok(())
}

#[test]
fn every_alert_is_tested_for_its_cause_and_in_a_healthy_installation() -> Result<()> {
    let mut tests = Vec::new();
    files("deploy/prometheus/tests".as_ref(), &["yml"], &mut tests)?;
    let mut expected = BTreeSet::new();
    for path in &tests {
        expected.extend(alerts_expected_in(path)?);
    }
    // The series of a healthy installation, without their labels.
    let healthy = read_yaml(HEALTHY.as_ref())?;
    let cases = healthy["tests"].as_array().with_context(|| format!("{HEALTHY} has no tests"))?;
    let inputs = cases.iter().filter_map(|case| case["input_series"].as_array()).flatten();
    let series: BTreeSet<&str> =
        inputs.filter_map(|input| input["series"].as_str()?.split('{').next()).collect();
    let mut problems = Vec::new();
    for rule in rules()?.into_iter().filter(Rule::is_alert) {
        if !expected.contains(&(rule.name().to_owned(), rule.label("severity").to_owned())) {
            problems.push(format!(
                "{}: no test expects it to fire as {}",
                rule.name(),
                rule.label("severity")
            ));
        }
        let query = Query::parse(&rule.expr)?;
        let metrics = query.selectors.iter().map(|selector| selector.metric.as_str());
        let missing = metrics.filter(|metric| !metric.contains(':') && !series.contains(metric));
        problems.extend(missing.map(|metric| format!("{}: {HEALTHY} has no {metric}", rule.name())));
    }
    assert_none(&problems);
    Ok(())
}

/// The alerts that a test file expects to fire, each with its severity.
fn alerts_expected_in(path: &Path) -> Result<BTreeSet<(String, String)>> {
    let file = read_yaml(path)?;
    let mut expected = BTreeSet::new();
    for test in file["tests"].as_array().context("a file has no tests")? {
        for check in test["promql_expr_test"].as_array().into_iter().flatten() {
            for sample in check["exp_samples"].as_array().into_iter().flatten() {
                let labels = sample["labels"].as_str().context("a sample has no labels")?;
                let [selector] = &Query::parse(labels)?.selectors[..] else { continue };
                let get = |name: &str| {
                    selector.matchers.iter().find(|(label, _)| label == name).map(|(_, value)| value.clone())
                };
                expected.extend(get("alertname").zip(get("severity")));
            }
        }
    }
    Ok(expected)
}

#[test]
fn every_panel_uses_the_data_source_that_its_reader_has_chosen() -> Result<()> {
    let (mut problems, mut ids) = (Vec::new(), BTreeSet::new());
    for panel in panels()? {
        let title = panel["title"].as_str().unwrap_or_default();
        let targets = panel["targets"].as_array().into_iter().flatten();
        let is_row = panel["type"] == "row";
        let sources: Vec<&Value> =
            targets.chain((!is_row).then_some(&panel)).map(|it| &it["datasource"]["uid"]).collect();
        if !ids.insert(panel["id"].as_u64()) || sources.iter().any(|uid| *uid != "${datasource}") {
            problems.push(title.to_owned());
        }
    }
    assert_none(&problems);
    Ok(())
}
