use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::StreamExt;
use hamro_shared::domain::ConcertId;
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};

use crate::http::client_address::Client;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, StreamEvent, StreamProblems};
use crate::http::problem::Problem;
use crate::http::sse::{head_of_stream, last_event_id};
use crate::state::AppState;

/// Follow the seat map of a concert
///
/// Server-sent events: one `snapshot` of all booked seats (see `SeatsSnapshot`), then a `change` (see `SeatsChange`)
/// within a second of every sale. A client that reconnects with `Last-Event-ID` receives the changes it missed, or a
/// new snapshot.
///
/// A `catalogue` event (see `CatalogueVersion`) follows on each connection, and another within two seconds when the concert,
/// its tiers or their types have changed, or the concert was deleted: load the concert and its tiers again. Sales do not
/// cause one. After the deletion of the concert the stream ends.
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}/events",
    operation_id = "follow_seats",
    tag = CATALOGUE,
    security(),
    params(
        ("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, example = "6c2f91d07a3be845-1", description = "The id of the last event received"),
    ),
    responses(
        (status = 200, description = "The event stream", body = SeatsEvent, content_type = "text/event-stream"),
        NotFoundProblem, ParamProblems, StreamProblems,
    ),
)]
pub async fn follow_seats(
    State(app): State<AppState>,
    client: Client,
    PathId(concert): PathId<ConcertId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if method == Method::HEAD {
        drop(app.seat_feed.subscribe(concert, None).await?);
        return Ok(head_of_stream());
    }
    let permit = app.sse_limiter.acquire(client)?;
    let events = app.seat_feed.subscribe(concert, last_event_id(&headers)).await?;
    Ok(permit.stream(events.map(|event| Event::default().event(event.name).id(&event.id).data(&event.data))))
}

/// An event of a concert's seat map.
pub struct SeatsEvent;

impl utoipa::PartialSchema for SeatsEvent {
    fn schema() -> RefOr<Schema> {
        let event = |schema: &str| Ref::from_schema_name(schema);
        OneOfBuilder::new()
            .description(Some("An event of a concert's seat map. Its name says which."))
            .item(event("SeatsSnapshotEvent"))
            .item(event("SeatsChangeEvent"))
            .item(event("CatalogueEvent"))
            .into()
    }
}

impl utoipa::ToSchema for SeatsEvent {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let id_description = "The version of the seat map, for `Last-Event-ID`.";
        let snapshot = StreamEvent {
            name: "snapshot",
            description: "All booked seats: the first event of a stream, unless the client has resumed one. Every 15 seconds \
                          without an event, the stream contains a comment (`: keep-alive`).",
            id: "6c2f91d07a3be845-1",
            id_description,
            data_schema: "SeatsSnapshot",
            data: json!({"layoutVersion": "9b1c5e0d2f7a4c360f8fad5bd9cb469f", "totalSeats": 100, "availableSeats": 98, "bookedSeatIds": [21, 22]}),
        };
        let change = StreamEvent {
            name: "change",
            description: "The seats that have changed since the previous event.",
            id: "6c2f91d07a3be845-2",
            id_description,
            data_schema: "SeatsChange",
            data: json!({"availableSeats": 96, "bookedSeatIds": [23, 42], "freedSeatIds": []}),
        };
        let catalogue = StreamEvent {
            name: "catalogue",
            description: "The version of the concert, its tiers and their types, on each connection and after each change. Sales do not \
                          change it.",
            id: "6c2f91d07a3be845-2",
            id_description,
            data_schema: "CatalogueVersion",
            data: json!({"version": "0cc175b9c0f1b6a831c399e269772661"}),
        };
        schemas.push(("CatalogueEvent".to_owned(), ObjectBuilder::from(catalogue).into()));
        schemas.push(("SeatsSnapshotEvent".to_owned(), ObjectBuilder::from(snapshot).into()));
        schemas.push(("SeatsChangeEvent".to_owned(), ObjectBuilder::from(change).into()));
    }
}
