use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::admin_auth::Admin;
use crate::http::extract::{FieldErrors, QueryParams};
use crate::http::problem::Problem;
use crate::intake::controls::Controls;
use crate::intake::stored::{self, StoredControls};

/// Changes in one response.
const CHANGES_MAX: i64 = 100;

#[derive(Deserialize)]
pub struct Params {
    /// Only changes with a smaller revision.
    before: Option<String>,
}

#[derive(Serialize)]
pub struct Changes {
    /// The newest first.
    changes: Vec<ChangeEntry>,
    /// `before` of the next older changes, if there are any.
    next: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeEntry {
    at: Timestamp,
    by: String,
    reason: String,
    #[serde(flatten)]
    controls: Controls,
    /// What held before.
    before: Controls,
}

/// `GET /ops/controls/changes`: who has changed the controls, when, why and how.
pub async fn list_changes(
    _: Admin,
    State(database): State<Database>,
    QueryParams(params): QueryParams<Params>,
) -> Result<Json<Changes>, Problem> {
    let before = params.parse()?;
    // One more, which says what held before the last one.
    let stored = database
        .query(move |connection| Box::pin(stored::newest(connection, before, CHANGES_MAX + 1)))
        .await?;
    Ok(Json(Changes::of(&stored)))
}

impl Params {
    fn parse(self) -> Result<Option<i64>, Problem> {
        let mut fields = FieldErrors::default();
        let before = self.before.map(|text| text.parse::<i64>().map_err(|_| "must be a revision"));
        let before = fields.check("before", before.transpose());
        fields.finish(before)
    }
}

impl Changes {
    fn of(stored: &[StoredControls]) -> Self {
        let earlier =
            stored.iter().skip(1).map(|stored| stored.controls.clone()).chain([Controls::default()]);
        let limit = usize::try_from(CHANGES_MAX).unwrap_or(usize::MAX);
        let pairs = stored.iter().zip(earlier).take(limit);
        let changes: Vec<ChangeEntry> = pairs
            .filter_map(|(stored, before)| {
                let change = stored.change.clone()?;
                let (at, by, reason) = (change.at, change.by, change.reason);
                Some(ChangeEntry { at, by, reason, controls: stored.controls.clone(), before })
            })
            .collect();
        let next =
            (stored.len() > limit).then(|| changes.last().map(|change| change.controls.intake.revision));
        Self { changes, next: next.flatten() }
    }
}
