use axum::Json;
use axum::extract::State;
use serde::Serialize;
use sqlx::postgres::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::seat::{Seat, SeatRow};
use crate::extract::Id;
use crate::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::problem::Problem;

/// All seats of a concert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatMap {
    seats: Vec<Seat>,
    total_seats: usize,
    available_seats: usize,
    booked_seats: usize,
}

/// Show the seat map of a concert
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}",
    operation_id = "list_seats",
    tag = CATALOGUE,
    params(("concertId" = Uuid, Path, description = "The concert's id")),
    responses(
        (status = 200, description = "All its seats", body = SeatMap),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn list_seats(State(pool): State<PgPool>, Id(concert): Id<Uuid>) -> Result<Json<SeatMap>, Problem> {
    let seats =
        SeatRow::of_concert(&pool, concert, false).await?.ok_or_else(|| Problem::not_found("concert"))?;
    let booked_seats = seats.iter().filter(|seat| seat.is_booked).count();
    Ok(Json(SeatMap {
        total_seats: seats.len(),
        available_seats: seats.len() - booked_seats,
        booked_seats,
        seats,
    }))
}
