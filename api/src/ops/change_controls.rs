//! Changes the controls of the intake, or of one concert: the fields that both have, and what follows.

use std::num::NonZeroU32;

use axum::Json;
use hamro_shared::queue::ConcertControls;
use hamro_shared::telemetry::CHANGES;
use serde_json::json;
use tokio::task::spawn;
use tokio::time::Instant;
use tracing::info;

use super::controls::ControlsView;
use crate::http::extract::FieldErrors;
use crate::http::field::Field;
use crate::http::problem::{Problem, ProblemCode};
use crate::intake::controls::describe;
use crate::intake::stored::{self, CONCERTS_MAX, ChangeOrder, Decision, NotChanged, StoredControls};
use crate::state::AppState;

/// More than any installation accepts.
const LIMIT_MAX: i64 = 1_000_000;
/// Larger numbers lose digits in JavaScript.
const REVISION_MAX: i64 = 1 << 53;

/// Makes the change. It is stored before it takes effect, and refused with 412 if somebody else has changed the controls since.
pub async fn change_controls(app: AppState, order: ChangeOrder) -> Result<Json<ControlsView>, Problem> {
    // In its own task: a client that disconnects must not prevent the announcement of what was committed.
    let stored = spawn(store_and_announce(app, order)).await.map_err(Problem::internal)??;
    Ok(Json(stored.into()))
}

async fn store_and_announce(app: AppState, order: ChangeOrder) -> Result<StoredControls, Problem> {
    let ordered = order.clone();
    let stored = app
        .database
        .transaction(move |connection| Box::pin(async move { stored::store(connection, &ordered).await }))
        .await?;
    let stored = stored.map_err(not_changed)?;
    app.intake.on_stored(stored.clone(), Instant::now());
    app.intake.announce();
    log(&order, &stored);
    Ok(stored)
}

fn not_changed(refusal: NotChanged) -> Problem {
    match refusal {
        NotChanged::Outdated(current) => {
            let detail = "Somebody has changed the controls since you read them, and your change was not made. Look at the \
                          controls, and repeat your change if it is still right.";
            Problem::new(ProblemCode::PreconditionFailed, detail)
                .with("controls", json!(ControlsView::from(*current)))
        }
        NotChanged::UnknownConcert => Problem::not_found("concert"),
        NotChanged::TooManyConcerts => Problem::invalid_field(
            "id",
            format!(
                "must be of a concert that has controls already: {CONCERTS_MAX} have, which is the maximum. Remove those \
                 of another one first"
            ),
        ),
    }
}

fn log(order: &ChangeOrder, stored: &StoredControls) {
    let ChangeOrder { by, reason, decision, .. } = order;
    let revision = stored.controls.intake.revision;
    let decided = match decision {
        Decision::Intake { .. } => format!("the intake is {}", stored.controls),
        Decision::Concert(ConcertControls { concert_id, paused, accept_per_second }) => {
            format!("concert {concert_id} is {}", describe(*paused, *accept_per_second))
        }
    };
    info!(target: CHANGES, { admin.name = %by }, "administrator {by}: {decided} (revision {revision}), because: {reason}");
}

/// The value of the field `acceptPerSecond`. `None`: no limit.
pub fn parse_limit(limit: Field<i64>) -> Result<Option<NonZeroU32>, String> {
    match limit {
        Field::Null => Ok(None),
        Field::Value(limit) => {
            let valid = (1..=LIMIT_MAX).contains(&limit).then(|| u32::try_from(limit).ok()).flatten();
            valid.and_then(NonZeroU32::new).map(Some).ok_or_else(|| {
                format!("must be a number from 1 to {LIMIT_MAX}, or null for no limit. To accept none, pause")
            })
        }
        Field::Missing => Err("is required: a number, or null for no limit".to_owned()),
    }
}

/// The field `reason`.
pub fn parse_reason(fields: &mut FieldErrors, reason: Option<String>) -> Option<String> {
    fields.text("reason", reason, 500)
}

/// The field `revision`: that of the controls which the administrator has seen.
pub fn parse_revision(fields: &mut FieldErrors, revision: Option<i64>) -> Option<i64> {
    fields.required("revision", revision, |revision| match revision {
        0..=REVISION_MAX => Ok(revision),
        _ => Err("must be the revision of the controls that you have seen"),
    })
}
