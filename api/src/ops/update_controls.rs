use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::change_controls::{change_controls, parse_limit, parse_reason, parse_revision};
use super::controls::ControlsView;
use crate::http::admin_auth::{Admin, AdminName};
use crate::http::extract::{FieldErrors, JsonBody};
use crate::http::field::Field;
use crate::http::problem::Problem;
use crate::intake::stored::{ChangeOrder, Decision};
use crate::state::AppState;

/// All controls of the intake. None has a default: somebody who only pauses the intake must not remove its limit by leaving it
/// out.
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

/// `PUT /ops/controls`: pauses or resumes the intake, or limits its rate, for the whole installation. Controls of concerts stay
/// as they are.
pub async fn update_controls(
    admin: Admin,
    State(app): State<AppState>,
    JsonBody(body): JsonBody<ControlsBody>,
) -> Result<Json<ControlsView>, Problem> {
    change_controls(app, body.parse(admin.name)?).await
}

impl ControlsBody {
    fn parse(self, by: AdminName) -> Result<ChangeOrder, Problem> {
        let mut fields = FieldErrors::default();
        let paused = fields.required("intakePaused", self.intake_paused, Ok::<_, String>);
        let accept_per_second = fields.check("acceptPerSecond", parse_limit(self.accept_per_second));
        let reason = parse_reason(&mut fields, self.reason);
        let seen_revision = parse_revision(&mut fields, self.revision);
        let order = (|| {
            Some(ChangeOrder {
                seen_revision: seen_revision?,
                decision: Decision::Intake { paused: paused?, accept_per_second: accept_per_second? },
                by,
                reason: reason?,
            })
        })();
        fields.finish(order)
    }
}
