use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use hamro_shared::queue::IntakeControls;
use hamro_shared::telemetry::CHANGES;
use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn;
use tokio::time::Instant;
use tracing::info;

use super::controls::Controls;
use crate::http::admin_auth::{Admin, AdminName};
use crate::http::extract::{FieldErrors, JsonBody};
use crate::http::field::Field;
use crate::http::problem::{Problem, ProblemCode};
use crate::intake::describe;
use crate::intake::stored::{self, ChangeOrder, StoredControls};
use crate::state::AppState;

/// More than any installation accepts.
const LIMIT_MAX: i64 = 1_000_000;
/// Larger numbers lose digits in JavaScript.
const REVISION_MAX: i64 = 1 << 53;

/// All controls. None has a default: somebody who only pauses the intake must not remove its limit by leaving it out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlsBody {
    intake_paused: Option<bool>,
    /// `null`: no limit.
    #[serde(default)]
    accept_per_second: Field<i64>,
    reason: Option<String>,
    /// The revision that the administrator has seen.
    revision: Option<i64>,
}

/// `PUT /ops/controls`: pauses or resumes the intake, or limits its rate, for the whole installation.
///
/// The change is stored before it takes effect. It is refused with 412 if somebody else has changed the controls since.
pub async fn update_controls(
    admin: Admin,
    State(app): State<AppState>,
    JsonBody(body): JsonBody<ControlsBody>,
) -> Result<Json<Controls>, Problem> {
    let order = body.parse(admin.name)?;
    // In its own task: a client that disconnects must not prevent the announcement of what was committed.
    let stored = spawn(store_and_announce(app, order)).await.map_err(Problem::internal)??;
    Ok(Json(stored.into()))
}

async fn store_and_announce(app: AppState, order: ChangeOrder) -> Result<StoredControls, Problem> {
    let by = order.by.clone();
    let stored =
        app.database.transaction(move |connection| Box::pin(stored::store(connection, order))).await?;
    let stored = stored.map_err(changed_meanwhile)?;
    app.intake.on_stored(stored.clone(), Instant::now());
    app.intake.announce();
    log(&by, &stored);
    Ok(stored)
}

fn changed_meanwhile(current: StoredControls) -> Problem {
    let detail = "Somebody has changed the controls since you read them, and your change was not made. Look at the \
                  controls, and repeat your change if it is still right.";
    Problem::new(ProblemCode::PreconditionFailed, detail).with("controls", json!(Controls::from(current)))
}

fn log(by: &AdminName, stored: &StoredControls) {
    let IntakeControls { revision, .. } = stored.controls;
    let reason = stored.change.as_ref().map(|change| change.reason.as_str()).unwrap_or_default();
    info!(
        target: CHANGES, { admin.name = %by },
        "administrator {by}: the intake is {} (revision {revision}), because: {reason}", describe(stored.controls)
    );
}

impl ControlsBody {
    fn parse(self, by: AdminName) -> Result<ChangeOrder, Problem> {
        let mut fields = FieldErrors::default();
        let intake_paused = fields.required("intakePaused", self.intake_paused, Ok::<_, String>);
        let accept_per_second = match self.accept_per_second {
            Field::Null => Some(None),
            Field::Value(limit) => fields.check("acceptPerSecond", parse_limit(limit)).map(Some),
            Field::Missing => {
                fields.wrong("acceptPerSecond", "is required: a number, or null for no limit");
                None
            }
        };
        let reason = fields.text("reason", self.reason, 500);
        let revision = fields.required("revision", self.revision, |revision| match revision {
            0..=REVISION_MAX => Ok(revision),
            _ => Err("must be the revision of the controls that you have seen"),
        });
        let order = (|| {
            Some(ChangeOrder {
                seen_revision: revision?,
                intake_paused: intake_paused?,
                accept_per_second: accept_per_second?,
                by,
                reason: reason?,
            })
        })();
        fields.finish(order)
    }
}

fn parse_limit(limit: i64) -> Result<NonZeroU32, String> {
    let valid = (1..=LIMIT_MAX).contains(&limit).then(|| u32::try_from(limit).ok()).flatten();
    valid.and_then(NonZeroU32::new).ok_or_else(|| {
        format!(
            "must be a number from 1 to {LIMIT_MAX}, or null for no limit. To accept none, set intakePaused"
        )
    })
}
