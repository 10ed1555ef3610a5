//! Merges the reports of several load generators that ran at the same time.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::arguments::MergeArguments;
use crate::prepare::check_files;
use crate::report::{self, Report, print, summary};
use crate::run::exit_code;
use crate::settings::Settings;
use crate::verify::prove_journals;

pub async fn merge(arguments: MergeArguments, settings: Settings) -> Result<ExitCode> {
    check_files(&arguments.output)?;
    let reports: Vec<Report> =
        arguments.reports.iter().map(|path| Report::read(path)).collect::<Result<_>>()?;
    let joint_proof = if arguments.journal.is_empty() {
        None
    } else {
        let url = arguments.url.as_deref();
        let proved = prove_journals(&arguments.journal, url, arguments.exclusive, &settings).await?;
        let runs = reports.iter().flat_map(|report| &report.loaders).map(|loader| loader.run.clone());
        ensure!(proved.runs == runs.collect(), "the journals must be those of all reports");
        Some(proved.proof)
    };
    let merged = report::merge(&reports, joint_proof, &arguments.output.fail_if)?;
    print(summary(&merged))?;
    arguments.output.write(&merged)?;
    Ok(exit_code(&merged))
}
