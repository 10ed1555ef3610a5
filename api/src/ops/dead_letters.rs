//! Dead letters over HTTP: what `hamro-worker dead-letters` does, with the name of the administrator.

use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::dead_letters::{
    self, DeadLetterError, Decision, Discarded, Letter, ListEntry, Reissued, Reissuer, Selection,
};
use hamro_shared::telemetry::CHANGES;
use serde::{Deserialize, Serialize};
use tokio::task::spawn;
use tracing::info;

use crate::http::admin_auth::Admin;
use crate::http::extract::{FieldErrors, JsonBody, PathId, QueryParams};
use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// Letters in one response.
const LETTERS_MAX: u32 = 50;

#[derive(Deserialize)]
pub struct Params {
    /// Only letters that are older than this one.
    after: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letters {
    /// The newest first. Without personal data.
    dead_letters: Vec<ListedLetter>,
    /// `after` of the next letters, if there are more.
    next: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedLetter {
    detail: String,
    #[serde(flatten)]
    entry: ListEntry,
}

/// `GET /ops/dead-letters`: those that nobody has decided about.
pub async fn list(
    _: Admin,
    State(database): State<Database>,
    QueryParams(params): QueryParams<Params>,
) -> Result<Json<Letters>, Problem> {
    let selection = Selection { all: false, before: params.parse()?, limit: LETTERS_MAX };
    let list = database.query(move |connection| Box::pin(dead_letters::list(connection, selection))).await?;
    let has_more = list.total > i64::try_from(list.dead_letters.len()).unwrap_or(i64::MAX);
    let next = list.dead_letters.first().filter(|_| has_more).map(|oldest| oldest.id);
    let newest_first = list.dead_letters.into_iter().rev();
    let dead_letters = newest_first
        .map(|mut entry| ListedLetter { detail: std::mem::take(&mut entry.detail), entry })
        .collect();
    Ok(Json(Letters { dead_letters, next }))
}

/// `GET /ops/dead-letters/{id}`: a letter with its payload, which has personal data.
pub async fn show(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<String>,
) -> Result<Json<Letter>, Problem> {
    let id = parse_id(&id)?;
    let found = database
        .query(move |connection| Box::pin(async move { split(dead_letters::show(connection, id).await) }))
        .await?;
    found.map(Json).map_err(refused)
}

/// Why an administrator decides so.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecisionBody {
    reason: Option<String>,
}

/// `POST /ops/dead-letters/{id}/reissue`: puts the booking back into the queue, under a new ticket. Also while the intake is
/// paused: it is a booking that was accepted before.
pub async fn reissue(
    admin: Admin,
    State(app): State<AppState>,
    PathId(id): PathId<String>,
    JsonBody(body): JsonBody<DecisionBody>,
) -> Result<Json<Reissued>, Problem> {
    let (id, decision) = (parse_id(&id)?, body.parse(&admin)?);
    // In its own task: a client that disconnects must not interrupt it.
    let reissued = spawn(reissue_and_log(app, id, decision)).await.map_err(Problem::internal)?;
    reissued.map(Json).map_err(refused)
}

async fn reissue_and_log(app: AppState, id: i64, decision: Decision) -> Result<Reissued, DeadLetterError> {
    let reissuer = Reissuer {
        database: app.database.clone(),
        ticket_keys: app.policy.ticket_keys.clone(),
        booking_deadline: app.policy.booking_deadline,
        clock: app.clock.clone(),
    };
    let publisher = app.publisher.clone();
    let publish = move |envelope| {
        let publisher = publisher.clone();
        async move { Ok(publisher.publish(envelope).await?) }
    };
    let log = decision.clone();
    let result = reissuer.reissue(id, decision, publish).await?;
    log_decision(&log, id, "reissued");
    Ok(result)
}

/// `POST /ops/dead-letters/{id}/discard`: closes the letter, and does nothing about its booking.
pub async fn discard(
    admin: Admin,
    State(app): State<AppState>,
    PathId(id): PathId<String>,
    JsonBody(body): JsonBody<DecisionBody>,
) -> Result<Json<Discarded>, Problem> {
    let (id, decision) = (parse_id(&id)?, body.parse(&admin)?);
    let discarding = spawn(async move {
        let (log, now) = (decision.clone(), app.clock.now());
        let discarded = app
            .database
            .transaction(move |connection| {
                Box::pin(async move { split(dead_letters::discard(connection, id, decision, now).await) })
            })
            .await?;
        if discarded.is_ok() {
            log_decision(&log, id, "discarded");
        }
        discarded.map_err(refused)
    });
    discarding.await.map_err(Problem::internal)?.map(Json)
}

fn log_decision(decision: &Decision, id: i64, what: &str) {
    let by = decision.by.as_deref().unwrap_or_default();
    let reason = decision.reason.as_deref().unwrap_or_default();
    info!(
        target: CHANGES, { admin.name = by },
        "administrator {by}: dead letter {id} is {what}, because: {reason}"
    );
}

/// An error of the database is handled like those of all queries.
fn split<T>(result: Result<T, DeadLetterError>) -> Result<Result<T, DeadLetterError>, sqlx::Error> {
    match result {
        Err(DeadLetterError::Database(error)) => Err(error),
        result => Ok(result),
    }
}

fn refused(error: DeadLetterError) -> Problem {
    match error {
        DeadLetterError::Unknown(_) => Problem::not_found("dead letter"),
        DeadLetterError::Database(error) => error.into(),
        DeadLetterError::NotPublished { ref cause, .. } => {
            let detail =
                "The booking may not be in the queue. Reissue it again: that continues with the same ticket.";
            let cause = std::io::Error::other(format!("{cause:#}"));
            Problem::new(ProblemCode::BrokerUnavailable, detail).retry_after(2).caused_by(cause)
        }
        DeadLetterError::BeingReissued { .. } => {
            let detail =
                "It is being reissued, and its booking may be in the queue. Reissue it again to finish that.";
            Problem::new(ProblemCode::AlreadyDecided, detail)
        }
        DeadLetterError::Unreadable { cause, .. } => {
            Problem::new(ProblemCode::AlreadyDecided, format!("It cannot be reissued: {cause:#}."))
        }
        DeadLetterError::AlreadyResolved { .. }
        | DeadLetterError::AlreadyReissued { .. }
        | DeadLetterError::Decided { .. }
        | DeadLetterError::Changed(_) => {
            let text = error.to_string();
            let mut chars = text.chars();
            let first = chars.next().map(|char| char.to_ascii_uppercase());
            let sentence: String = first.into_iter().chain(chars).chain(['.']).collect();
            Problem::new(ProblemCode::AlreadyDecided, sentence)
        }
    }
}

/// An id that is no number belongs to no letter.
fn parse_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::not_found("dead letter"))
}

impl Params {
    fn parse(self) -> Result<Option<i64>, Problem> {
        let mut fields = FieldErrors::default();
        let after = self.after.map(|text| text.parse::<i64>().map_err(|_| "must be the id of a dead letter"));
        let after = fields.check("after", after.transpose());
        fields.finish(after)
    }
}

impl DecisionBody {
    fn parse(self, admin: &Admin) -> Result<Decision, Problem> {
        let mut fields = FieldErrors::default();
        let reason = fields.text("reason", self.reason, 500);
        let by = Some(admin.name.to_string());
        fields.finish(reason.map(|reason| Decision { by, reason: Some(reason) }))
    }
}
