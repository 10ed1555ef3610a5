//! docs/METRICS.md lists the metrics that the programs export. `make metrics` writes it after a change.

use std::collections::BTreeMap;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use hamro_e2e::{Deployment, Metrics, Setup};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");

/// The page with another table for a program.
fn with_table(page: &str, program: &str, table: &str) -> Result<String> {
    let start = format!("<!-- `make metrics` writes the table of {program}. -->\n");
    let (before, rest) = page.split_once(&start).with_context(|| format!("no table of {program}"))?;
    let (_, after) = rest.split_once("<!-- end of the table -->\n").context("the table has no end")?;
    Ok(format!("{before}{start}{table}<!-- end of the table -->\n{after}"))
}

/// The rows of a table: the type and the labels of each metric.
fn rows(table: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let cells = table.lines().skip(2).map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let mut labels: Vec<String> =
                cells[3].split(", ").map(|it| it.trim_matches('`').to_owned()).collect();
            labels.retain(|label| !label.is_empty());
            labels.sort_unstable();
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        })
        .collect()
}

/// Each metric that is exported has a row with its type and its labels.
fn assert_described(program: &str, exported: &Metrics, table: &str) -> Result<()> {
    let rows = rows(table);
    for sample in &exported.samples {
        let metric = exported.metric_of(sample);
        let (kind, labels) = rows.get(metric).with_context(|| format!("{program}: {metric} has no row"))?;
        ensure!(exported.kinds[metric] == *kind, "{program}: {metric} is no {kind}");
        let exported: Vec<&String> = sample.labels.keys().filter(|label| *label != "le").collect();
        ensure!(exported.iter().copied().eq(labels), "{program}: {metric} has the labels {exported:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_page_lists_every_metric_that_the_programs_export() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        super::use_everything(deployment).await?;
        let committed = fs::read_to_string(PAGE)?;
        let (api, worker) = (&mut deployment.apis[0].process, &mut deployment.workers[0]);
        let tables = [
            ("hamro-api", api.metrics_page("/").await?, api.metrics().await?),
            ("hamro-worker", worker.metrics_page("/").await?, worker.metrics().await?),
        ];
        let mut current = committed.clone();
        for (program, table, exported) in &tables {
            assert_described(program, exported, table)?;
            current = with_table(&current, program, table)?;
        }
        #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting of the programs")]
        if env::var("UPDATE_METRICS").is_ok() {
            return Ok(fs::write(PAGE, current)?);
        }
        ensure!(committed == current, "docs/METRICS.md is out of date. Run `make metrics`:\n{current}");
        Ok(())
    })
    .await
}
