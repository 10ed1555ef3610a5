//! Measures the broker and the database alone: upper limits for the results of the whole system.

mod publish;
mod settle;

use anyhow::Result;
use hamro_shared::config::Env;
use hamro_shared::domain::Clock;

use crate::arguments::Ceiling;
use crate::machine::Machine;
use crate::report::{CeilingFigures, say, table, write};

pub async fn measure(command: Ceiling, env: Env) -> Result<()> {
    let (figures, common) = match command {
        Ceiling::Publish { common, in_flight } => {
            (publish::measure(env, common.duration, in_flight).await?, common)
        }
        Ceiling::Settle { common, batch, connections } => {
            (vec![settle::measure(env, common.duration, batch, connections).await?], common)
        }
    };
    let rows =
        figures.iter().map(|figure| [figure.what.clone(), format!("{:.0}/s", figure.bookings_per_second)]);
    say(table(["limit", "bookings"], rows));
    if let Some(path) = &common.json {
        let measured = Clock::system().now().to_string();
        let figures = CeilingFigures { measured, machine: Machine::this(), figures };
        write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    Ok(())
}
