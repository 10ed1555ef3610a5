//! The controls of the intake as JSON.

use std::num::NonZeroU32;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::IntakeControls;
use serde::Serialize;

use crate::intake::CurrentControls;
use crate::intake::stored::StoredControls;

/// The controls that are in force.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Controls {
    intake_paused: bool,
    accept_per_second: Option<NonZeroU32>,
    revision: i64,
    changed_at: Option<Timestamp>,
    changed_by: Option<String>,
    reason: Option<String>,
    /// Whether they were lately read from the database. Otherwise these are the last known ones.
    is_stored: bool,
}

impl From<CurrentControls> for Controls {
    fn from(current: CurrentControls) -> Self {
        let CurrentControls { controls, change, is_stored } = current;
        let IntakeControls { revision, intake_paused, accept_per_second } = controls;
        let (changed_at, changed_by, reason) = change
            .map(|change| (change.at, change.by, change.reason))
            .map_or_else(|| (None, None, None), |(at, by, reason)| (Some(at), Some(by), Some(reason)));
        Self { intake_paused, accept_per_second, revision, changed_at, changed_by, reason, is_stored }
    }
}

impl From<StoredControls> for Controls {
    fn from(stored: StoredControls) -> Self {
        let StoredControls { controls, change } = stored;
        CurrentControls { controls, change, is_stored: true }.into()
    }
}
