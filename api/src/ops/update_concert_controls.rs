use axum::Json;
use axum::extract::State;
use hamro_shared::domain::ConcertId;
use hamro_shared::queue::ConcertControls;
use serde::Deserialize;

use super::change_controls::{change_controls, parse_limit, parse_reason, parse_revision};
use super::controls::ControlsView;
use crate::http::admin_auth::{Admin, AdminName};
use crate::http::extract::{FieldErrors, JsonBody, PathId};
use crate::http::field::Field;
use crate::http::problem::Problem;
use crate::intake::stored::{ChangeOrder, Decision};
use crate::state::AppState;

/// All controls of a concert. None has a default, as for the intake.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcertControlsBody {
    paused: Option<bool>,
    /// `null`: no limit.
    #[serde(default)]
    accept_per_second: Field<i64>,
    reason: Option<String>,
    /// The revision of all controls that the administrator has seen.
    revision: Option<i64>,
}

/// `PUT /ops/controls/concerts/{id}`: pauses or resumes the bookings of one concert, or limits their rate, for the whole
/// installation. Neither paused nor limited: the concert has no controls.
pub async fn update_concert_controls(
    admin: Admin,
    State(app): State<AppState>,
    PathId(concert): PathId<ConcertId>,
    JsonBody(body): JsonBody<ConcertControlsBody>,
) -> Result<Json<ControlsView>, Problem> {
    change_controls(app, body.parse(concert, admin.name)?).await
}

impl ConcertControlsBody {
    fn parse(self, concert_id: ConcertId, by: AdminName) -> Result<ChangeOrder, Problem> {
        let mut fields = FieldErrors::default();
        let paused = fields.required("paused", self.paused, Ok::<_, String>);
        let accept_per_second = fields.check("acceptPerSecond", parse_limit(self.accept_per_second));
        let reason = parse_reason(&mut fields, self.reason);
        let seen_revision = parse_revision(&mut fields, self.revision);
        let order = (|| {
            let controls =
                ConcertControls { concert_id, paused: paused?, accept_per_second: accept_per_second? };
            let decision = Decision::Concert(controls);
            Some(ChangeOrder { seen_revision: seen_revision?, decision, by, reason: reason? })
        })();
        fields.finish(order)
    }
}
