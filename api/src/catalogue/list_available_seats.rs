use axum::Json;
use axum::extract::State;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use super::seat::{Seat, SeatRow};
use crate::extract::Id;
use crate::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::problem::Problem;

/// Show the seats of a concert that nobody has
#[utoipa::path(
    get,
    path = "/seats/concert/{concertId}/available",
    operation_id = "list_available_seats",
    tag = CATALOGUE,
    params(("concertId" = Uuid, Path, description = "The concert's id")),
    responses(
        (status = 200, description = "The free seats", body = Vec<Seat>),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn list_available_seats(
    State(pool): State<PgPool>,
    Id(concert): Id<Uuid>,
) -> Result<Json<Vec<Seat>>, Problem> {
    let seats =
        SeatRow::of_concert(&pool, concert, true).await?.ok_or_else(|| Problem::not_found("concert"))?;
    Ok(Json(seats))
}
