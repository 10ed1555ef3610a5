//! The text format, checked by Prometheus' own tool.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use hamro_e2e::{Deployment, Setup};

/// Runs `promtool check metrics`, which parses the text and checks names, units and help texts.
fn check(program: &str, text: &str) -> Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is missing: `make test` installs it")?;
    promtool.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success() && said.is_empty(), "{program}: {said}\n{text}");
    Ok(())
}

#[tokio::test]
async fn promtool_finds_no_fault_in_what_both_programs_export() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        check("a new api", &deployment.apis[0].process.metrics().await?.text)?;
        super::use_everything(deployment).await?;
        check("the api", &deployment.apis[0].process.metrics().await?.text)?;
        check("the worker", &deployment.workers[0].metrics().await?.text)
    })
    .await
}
