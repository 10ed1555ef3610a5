//! Measures the broker and the database alone: to compare the results of the whole system with.

use std::process::ExitCode;

use anyhow::Result;
use hamro_shared::config::Env;
use hamro_shared::domain::Clock;
use hamro_verification::baseline;

use crate::arguments::Baseline;
use crate::report::{BaselineReport, print, table, write};
use hamro_verification::machine::Machine;

pub async fn measure(command: Baseline, env: Env) -> Result<ExitCode> {
    let (results, common) = match command {
        Baseline::Publish { common, in_flight } => {
            (baseline::publish::measure(env, common.duration, in_flight).await?, common)
        }
        Baseline::Settle { common, batch, connections } => {
            (vec![baseline::settle::measure(env, common.duration, batch, connections).await?], common)
        }
    };
    let rows =
        results.iter().map(|result| [result.what.clone(), format!("{:.0}/s", result.bookings_per_second)]);
    print(table(["alone", "bookings"], rows))?;
    if let Some(path) = &common.json {
        let measured = Clock::system().now().to_string();
        let report = BaselineReport { measured, machine: Machine::this(), results };
        write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
