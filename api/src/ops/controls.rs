//! The controls of the intake as JSON.

use hamro_shared::domain::Timestamp;
use serde::Serialize;

use crate::intake::CurrentControls;
use crate::intake::controls::Controls;
use crate::intake::stored::StoredControls;

/// The controls that are in force.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlsView {
    #[serde(flatten)]
    controls: Controls,
    changed_at: Option<Timestamp>,
    changed_by: Option<String>,
    reason: Option<String>,
    /// Whether they were lately read from the database. Otherwise these are the last known ones.
    is_stored: bool,
}

impl From<CurrentControls> for ControlsView {
    fn from(current: CurrentControls) -> Self {
        let CurrentControls { controls, change, is_stored } = current;
        let (changed_at, changed_by, reason) = change
            .map(|change| (change.at, change.by, change.reason))
            .map_or_else(|| (None, None, None), |(at, by, reason)| (Some(at), Some(by), Some(reason)));
        Self { controls, changed_at, changed_by, reason, is_stored }
    }
}

impl From<StoredControls> for ControlsView {
    fn from(stored: StoredControls) -> Self {
        let StoredControls { controls, change } = stored;
        CurrentControls { controls, change, is_stored: true }.into()
    }
}
