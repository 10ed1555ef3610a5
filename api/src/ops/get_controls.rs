use axum::Json;
use axum::extract::State;

use super::controls::ControlsView;
use crate::http::admin_auth::Admin;
use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// `GET /ops/controls`: the controls that this instance obeys.
pub async fn get_controls(_: Admin, State(app): State<AppState>) -> Result<Json<ControlsView>, Problem> {
    let current = app.intake.current().ok_or_else(not_known)?;
    Ok(Json(current.into()))
}

fn not_known() -> Problem {
    Problem::new(ProblemCode::NotReady, "The controls are not known yet.").retry_after(1)
}
