use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::StreamExt;
use uuid::Uuid;

use crate::events::last_event_id;
use crate::extract::Id;
use crate::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, SeatsEvent, StreamProblems};
use crate::problem::Problem;
use crate::state::AppState;

/// Watch the seat map of a concert
///
/// Server-sent events: one `snapshot` of all booked seats (see `SeatsSnapshot`), then a `change` (see `SeatsChange`) within
/// a second of every sale, on every instance. A client that connects again with the id of the last event it received is
/// told what it has missed, or gets a new snapshot.
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}/events",
    operation_id = "follow_seats",
    tag = CATALOGUE,
    params(
        ("concertId" = Uuid, Path, description = "The concert's id"),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The id of the last event that was received"),
    ),
    responses(
        (status = 200, description = "The events", body = SeatsEvent, content_type = "text/event-stream"),
        NotFoundProblem, ParamProblems, StreamProblems,
    ),
)]
pub async fn follow_seats(
    State(app): State<AppState>,
    Id(concert): Id<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = app.streams.place()?;
    let seats = app.live_seats.watch(concert, last_event_id(&headers)).await?;
    let seats = seats.ok_or_else(|| Problem::not_found("concert"))?;
    Ok(place.stream(seats.map(|event| Event::default().event(event.name).id(&event.id).data(&event.data))))
}
