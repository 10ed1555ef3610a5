use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hamro_shared::domain::ConcertId;

use super::seats_of_concert::respond;
use crate::http::client_address::Client;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, EncodingProblem, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;
use crate::http::ready_body::CachePolicy;
use crate::seat_maps::json::status::SeatStatus;
use crate::state::AppState;

/// Get the seat status of a concert
///
/// Which seats are booked, at most a second ago: a bit for each seat of the layout that `layoutVersion` names. `Last-Event-ID`
/// is what the request for the seat map's events needs to receive all later changes.
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}/status",
    operation_id = "get_seat_status",
    tag = CATALOGUE,
    security(),
    params(
        ("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"),
        ("If-None-Match" = Option<String>, Header, nullable = false, example = "\"6c2f91d07a3be8450e5f1c4d2b6a7c91\"", description = "The `ETag` of the status that the client already has"),
    ),
    responses(
        (status = 200, description = "The seat status", body = SeatStatus, headers(
            ("ETag" = String, description = "Changes whenever a seat is booked or freed, and with the layout"),
            ("Last-Event-ID" = String, description = "The last event whose changes the status contains"),
            ("Age" = u64, description = "Seconds since the status was verified. Only while the database does not respond"),
        )),
        (status = 304, description = "The client already has the current status"),
        NotFoundProblem, EncodingProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_seat_status(
    State(app): State<AppState>,
    client: Client,
    PathId(concert): PathId<ConcertId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let document = app.seat_maps.status(concert).await?;
    respond(&app, client, &headers, CachePolicy::Revalidate, document)
}
