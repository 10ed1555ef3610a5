use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::StreamExt;
use hamro_shared::domain::ConcertId;
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{OneOfBuilder, Schema};

use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, StreamProblems, stream_event};
use crate::http::problem::{Problem, ProblemCode};
use crate::http::sse::last_event_id;
use crate::seat_feed::SeatFeedError;
use crate::state::AppState;

/// Follow the seat map of a concert
///
/// Server-sent events: one `snapshot` of all booked seats (see `SeatsSnapshot`), then a `change` (see `SeatsChange`)
/// within a second of every sale. A client that reconnects with `Last-Event-ID` receives the changes it missed, or a
/// new snapshot.
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}/events",
    operation_id = "follow_seats",
    tag = CATALOGUE,
    params(
        ("concertId" = Uuid, Path, description = "The concert's id"),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The id of the last event received"),
    ),
    responses(
        (status = 200, description = "The event stream", body = SeatsEvent, content_type = "text/event-stream"),
        NotFoundProblem, ParamProblems, StreamProblems,
    ),
)]
pub async fn follow_seats(
    State(app): State<AppState>,
    PathId(concert): PathId<ConcertId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let permit = app.sse_limiter.acquire()?;
    let events = app.seat_feed.subscribe(concert, last_event_id(&headers)).await?;
    Ok(permit.stream(events.map(|event| Event::default().event(event.name).id(&event.id).data(&event.data))))
}

impl From<SeatFeedError> for Problem {
    fn from(error: SeatFeedError) -> Self {
        match error {
            SeatFeedError::ConcertNotFound => Self::not_found("concert"),
            SeatFeedError::TimedOut => Self::of(ProblemCode::Overloaded).retry_after(2).caused_by(error),
            SeatFeedError::Aborted(_) => {
                Self::of(ProblemCode::DatabaseUnavailable).retry_after(2).caused_by(error)
            }
            SeatFeedError::Database(error) => error.into(),
        }
    }
}

/// An event of a concert's seat map.
pub struct SeatsEvent;

impl utoipa::PartialSchema for SeatsEvent {
    fn schema() -> RefOr<Schema> {
        let all = json!({"totalSeats": 100, "availableSeats": 98, "bookedSeatIds": [21, 22]});
        let change = json!({"availableSeats": 96, "bookedSeatIds": [23, 42], "freedSeatIds": []});
        OneOfBuilder::new()
            .item(stream_event("snapshot", "7f3a-1", "SeatsSnapshot", all))
            .item(stream_event("change", "7f3a-2", "SeatsChange", change))
            .into()
    }
}

impl utoipa::ToSchema for SeatsEvent {}
