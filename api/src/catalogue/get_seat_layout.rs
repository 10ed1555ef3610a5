use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hamro_shared::domain::ConcertId;

use super::seats_of_concert::respond;
use crate::http::client_address::Client;
use crate::http::extract::PathIds;
use crate::http::openapi::{CATALOGUE, EncodingProblem, LayoutProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;
use crate::http::ready_body::CachePolicy;
use crate::seat_maps::json::layout::Layout;
use crate::seat_maps::{Document, SeatMapError};
use crate::state::AppState;

/// Get a layout of a concert's seats
///
/// Its seats without which of them are booked. A version never changes, so browsers and shared caches may keep it. It is found
/// while the concert has this layout: when seats are added, removed, renamed or moved to another tier, the seat status
/// names another version.
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}/layouts/{layoutVersion}",
    operation_id = "get_seat_layout",
    tag = CATALOGUE,
    security(),
    params(
        ("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"),
        ("layoutVersion" = String, Path, description = "The `layoutVersion` of the seat status", example = "9b1c5e0d2f7a4c360f8fad5bd9cb469f"),
        ("If-None-Match" = Option<String>, Header, nullable = false, example = "\"6c2f91d07a3be8450e5f1c4d2b6a7c91-br\"", description = "The `ETag` of the layout that the client already has"),
    ),
    responses(
        (status = 200, description = "The layout", body = Layout, headers(
            ("ETag" = String, description = "Identifies the layout and its encoding"),
        )),
        (status = 304, description = "The client already has this layout"),
        LayoutProblem, EncodingProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_seat_layout(
    State(app): State<AppState>,
    client: Client,
    PathIds(concert, version): PathIds<ConcertId, String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let version = version.parse().map_err(|_| SeatMapError::LayoutChanged)?;
    let body = app.seat_maps.layout(concert, version).await?;
    let document = Document { body, age: None, last_event_id: None };
    respond(&app, client, &headers, CachePolicy::Immutable, document)
}
