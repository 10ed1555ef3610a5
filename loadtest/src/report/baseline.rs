//! Upper limits to compare the results with.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use hamro_verification::baseline::BaselineResult;
use hamro_verification::machine::Machine;

/// The results of one `baseline` command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineReport {
    /// RFC 3339.
    pub measured: String,
    pub machine: Machine,
    pub figures: Vec<BaselineResult>,
}

impl BaselineReport {
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&json)
            .with_context(|| format!("{} is not an output of `baseline`", path.display()))
    }
}
