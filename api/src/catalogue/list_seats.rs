use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hamro_shared::domain::ConcertId;
use serde::Serialize;
use utoipa::ToSchema;

use super::seat::Seat;
use super::seats_of_concert::respond;
use crate::http::client_address::Client;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, EncodingProblem, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;
use crate::http::ready_body::CachePolicy;
use crate::seat_maps::Selection;
use crate::state::AppState;

// `seat_maps::json::seats` writes it.
/// All seats of a concert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatMap {
    seats: Vec<Seat>,
    #[schema(example = 100)]
    total_seats: usize,
    #[schema(example = 98)]
    available_seats: usize,
    #[schema(example = 2)]
    booked_seats: usize,
}

/// Get the seat map of a concert
///
/// All seats in the order of their ids, and whether each is booked. While many seats of a large concert are being sold, the seat
/// map may be some seconds old; `Age` says so. The seat status is always current. To receive changes, follow the seat map's
/// events.
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}",
    operation_id = "list_seats",
    tag = CATALOGUE,
    security(),
    params(
        ("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"),
        ("If-None-Match" = Option<String>, Header, nullable = false, example = "\"6c2f91d07a3be8450e5f1c4d2b6a7c91-br\"", description = "The `ETag` of the seat map that the client already has"),
    ),
    responses(
        (status = 200, description = "The seat map", body = SeatMap, headers(
            ("ETag" = String, description = "Changes whenever a seat changes"),
            ("Age" = u64, description = "Seconds since the seats were as described. Only if they may have changed since"),
        )),
        (status = 304, description = "The client already has the current seat map"),
        NotFoundProblem, EncodingProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn list_seats(
    State(app): State<AppState>,
    client: Client,
    PathId(concert): PathId<ConcertId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let document = app.seat_maps.seats(concert, Selection::All).await?;
    respond(&app, client, &headers, CachePolicy::Catalogue, document)
}
