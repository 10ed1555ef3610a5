//! Merges the reports of several load generators that ran at the same time.

use std::process::ExitCode;

use anyhow::Result;

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
        Some(prove_journals(&arguments.journal, url, arguments.exclusive, &settings).await?)
    };
    let merged = report::merge(&reports, joint_proof, &arguments.output.fail_if)?;
    print(summary(&merged))?;
    arguments.output.write(&merged)?;
    Ok(exit_code(&merged))
}
