//! Upper limits to compare the results with.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// The results of one `ceiling` command.
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
        serde_json::from_slice(&json)
            .with_context(|| format!("{} is not an output of `ceiling`", path.display()))
    }
}
