use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hamro_shared::database::Database;
use hamro_shared::domain::{ConcertId, SeatId, TicketId};
use hamro_shared::fault_point;
use serde::Deserialize;
use tokio::task::spawn;
use tracing::warn;
use utoipa::ToSchema;

use super::TicketStatus;
use super::outcome::verify_ticket;
use super::release_transaction::{ReleaseId, ReleaseOrder, Released, begin_release, finish_release};
use super::request::seat_ids;
use super::status::etag_of;
use crate::http::admin_auth::Admin;
use crate::http::etag::ETag;
use crate::http::extract::{FieldErrors, JsonBody, PathId};
use crate::http::openapi::{
    AdminProblems, BOOKINGS, BodyProblems, NotConfirmedProblem, ServerProblems, UnknownTicketProblem, text,
};
use crate::http::own_writes::WrittenConcerts;
use crate::http::problem::Problem;
use crate::state::AppState;

/// More than any booking has.
const SEATS_MAX: usize = 10_000;

/// Which seats of a booking to release, and why.
// An unknown field is an error: without a misspelt `seatIds`, all seats would be released.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"seatIds": [22], "reason": "Refund 4711"}))]
pub struct ReleaseBody {
    /// Seats of the booking, without duplicates. By default, all that are not released yet.
    #[schema(value_type = Option<HashSet<SeatId>>, min_items = 1)]
    seat_ids: Option<Vec<i64>>,
    /// Recorded with the administrator's name. Do not write about the customer.
    #[schema(required = true, schema_with = text::<500>)]
    reason: Option<String>,
}

/// Release seats of a booking
///
/// The seats no longer belong to the booking, and can be sold again: seat maps show them at once, and bookings that are
/// submitted at least three seconds later get them. The booking stays `confirmed`; `releasedSeatIds` lists its released
/// seats. Retries under its idempotency key still share it. Releasing a seat again changes nothing.
#[utoipa::path(
    post,
    path = "/ticket-bookings/{ticketId}/release",
    operation_id = "release_booking",
    tag = BOOKINGS,
    security(("adminToken" = [])),
    params(
        ("ticketId" = Uuid, Path, description = "The ticket id of the booking, or of a retry that shares it", example = "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88"),
    ),
    request_body = ReleaseBody,
    responses(
        (status = 200, description = "The seats are released", body = TicketStatus, headers(
            ("ETag" = String, description = "The new version of the status document"),
        )),
        UnknownTicketProblem, NotConfirmedProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn release_booking(
    admin: Admin,
    State(app): State<AppState>,
    PathId(text): PathId<String>,
    JsonBody(body): JsonBody<ReleaseBody>,
) -> Result<Response, Problem> {
    let ticket = verify_ticket(&app, &text)?;
    let (seats, reason) = body.parse()?;
    let order = ReleaseOrder { ticket, seats, reason, by: admin.name };
    let ReleasedBooking { etag, status, concerts } = release_detached(app, order).await?;
    let cache = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((cache, etag, Extension(WrittenConcerts(concerts)), Json(status)).into_response())
}

/// A booking after the release.
pub struct ReleasedBooking {
    pub etag: ETag,
    pub status: TicketStatus,
    /// The concerts of the seats that this release has freed.
    concerts: Vec<ConcertId>,
}

/// Releases the seats, and tells this instance and all others.
///
/// In its own task: a client that disconnects must not prevent the announcement of what was committed.
pub async fn release_detached(app: AppState, order: ReleaseOrder) -> Result<ReleasedBooking, Problem> {
    spawn(release_and_announce(app, order)).await.map_err(Problem::internal)?
}

async fn release_and_announce(app: AppState, order: ReleaseOrder) -> Result<ReleasedBooking, Problem> {
    let ticket = order.ticket;
    let released = app.database.transaction(move |connection| Box::pin(begin_release(connection, order)));
    let Released { release, unfinished } = released.await??;
    fault_point!(AfterRelease);
    // Here first, so that this instance does not depend on the broker.
    app.seat_feed.on_released(&release.seats);
    app.outcomes.on_released(release.tickets.clone());
    app.publisher.announce(&release);
    if let Some(unfinished) = unfinished {
        finish(&app.database, unfinished).await;
    }
    let concerts = release.seats.iter().map(|seat| seat.concert_id).collect();
    let settled = release.tickets.into_iter().find(|settled| settled.ticket_id == ticket);
    let settled = settled.ok_or_else(|| unreadable(ticket))?;
    Ok(ReleasedBooking { etag: etag_of(&settled), status: TicketStatus::settled(settled), concerts })
}

/// Makes the seats free. If that fails, the release stands, and an instance finishes it later (`unfinished_releases`).
async fn finish(database: &Database, release: ReleaseId) {
    let finished =
        database.transaction(move |connection| Box::pin(finish_release(connection, release))).await;
    if let Err(error) = finished {
        warn!("the seats of a release cannot be sold yet: {error}; retrying within seconds");
    }
}

fn unreadable(ticket: TicketId) -> Problem {
    Problem::internal(anyhow::anyhow!(
        "the seats are released, but the stored outcome of ticket {ticket} cannot be read"
    ))
}

impl ReleaseBody {
    /// The seats, or `None` for all, and the reason.
    fn parse(self) -> Result<(Option<Vec<SeatId>>, String), Problem> {
        let mut fields = FieldErrors::default();
        let seats = self.seat_ids.map(|ids| seat_ids(ids, SEATS_MAX)).transpose();
        let seats = fields.check("seatIds", seats);
        let reason = fields.text("reason", self.reason, 500);
        fields.finish(seats.zip(reason))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: Value) -> Result<(Option<Vec<SeatId>>, String), Vec<String>> {
        let body: ReleaseBody = serde_json::from_value(body).map_err(|error| vec![error.to_string()])?;
        body.parse().map_err(|problem| {
            let document = serde_json::to_value(problem.document()).unwrap();
            let errors = document["errors"].as_array().unwrap().clone();
            errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
        })
    }

    #[test]
    fn a_release_needs_a_reason_of_one_line_and_seats_without_duplicates() {
        assert_eq!(parse(json!({"reason": " Refund "})), Ok((None, "Refund".to_owned())));
        let reason = "é".repeat(500);
        assert_eq!(
            parse(json!({"reason": reason, "seatIds": [7]})),
            Ok((Some(vec![SeatId(7)]), reason.clone()))
        );
        for (invalid, fields) in [
            (json!({}), vec!["reason"]),
            (json!({"reason": " "}), vec!["reason"]),
            (json!({"reason": "two\nlines"}), vec!["reason"]),
            (json!({"reason": format!("{reason}!")}), vec!["reason"]),
            (json!({"reason": "Refund", "seatIds": []}), vec!["seatIds"]),
            (json!({"seatIds": [7, 7]}), vec!["seatIds", "reason"]),
        ] {
            let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
            assert_eq!(parse(invalid.clone()), Err(fields), "{invalid}");
        }
        assert!(parse(json!({"reason": "Refund", "seatId": [7]})).is_err());
    }
}
