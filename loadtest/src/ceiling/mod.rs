//! What the bare services can do: the limits that a figure of the whole system stands beside.

mod publish;
mod settle;

use std::path::Path;

use anyhow::{Context, Result};
use hamro_shared::config::Env;
use hamro_shared::domain::Clock;
use serde::{Deserialize, Serialize};

use crate::arguments::Ceiling;
use crate::report::{Machine, say, table, write};

/// What was measured in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CeilingFigures {
    /// RFC 3339.
    pub measured: String,
    pub machine: Machine,
    pub figures: Vec<CeilingFigure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CeilingFigure {
    pub what: String,
    pub bookings_per_second: f64,
}

impl CeilingFigures {
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&json).with_context(|| format!("{} is no output of `ceiling`", path.display()))
    }
}

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
