//! Measures the broker and the database alone: upper limits for the results of the whole system.

use anyhow::Result;
use hamro_shared::config::Env;
use hamro_shared::domain::Clock;
use hamro_verification::baseline;

use crate::arguments::Baseline;
use crate::report::{BaselineReport, say, table, write};
use hamro_verification::machine::Machine;

pub async fn measure(command: Baseline, env: Env) -> Result<()> {
    let (figures, common) = match command {
        Baseline::Publish { common, in_flight } => {
            (baseline::publish::measure(env, common.duration, in_flight).await?, common)
        }
        Baseline::Settle { common, batch, connections } => {
            (vec![baseline::settle::measure(env, common.duration, batch, connections).await?], common)
        }
    };
    let rows =
        figures.iter().map(|figure| [figure.what.clone(), format!("{:.0}/s", figure.bookings_per_second)]);
    say(table(["limit", "bookings"], rows));
    if let Some(path) = &common.json {
        let measured = Clock::system().now().to_string();
        let figures = BaselineReport { measured, machine: Machine::this(), figures };
        write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    Ok(())
}
