use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::TierId;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use super::queries::ticket_tiers;
use super::ticket_tier::{TicketTier, TicketTierBody, TicketTierDetails, map_foreign_key};
use crate::http::admin_auth::Admin;
use crate::http::extract::JsonBodyWithId;
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, NotFoundProblem, ServerProblems};
use crate::http::problem::Problem;

/// The id of a ticket tier and its new fields.
#[derive(ToSchema)]
#[schema(example = json!({"id": 2, "concertId": "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "ticketTypeId": 2, "price": "55.00"}))]
#[expect(dead_code, reason = "describes what `JsonBodyWithId` reads")]
pub struct TicketTierUpdate {
    id: i32,
    #[serde(flatten)]
    body: TicketTierBody,
}

/// Update a ticket tier
///
/// A new price applies to later sales only. A tier cannot move to another concert.
#[utoipa::path(
    put,
    path = "/ticket-tiers",
    operation_id = "update_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    request_body = TicketTierUpdate,
    responses(
        (status = 200, description = "The updated tier", body = TicketTier),
        NotFoundProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn update_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    JsonBodyWithId { id, body }: JsonBodyWithId<TierId, TicketTierBody>,
) -> Result<Json<TicketTier>, Problem> {
    let details = body.parse()?;
    let updated = database
        .transaction(move |connection| Box::pin(update(connection, id, details)))
        .await
        .map_err(map_foreign_key)?;
    Ok(Json(updated?))
}

/// Updates the tier, or returns what is wrong with the request.
async fn update(
    connection: &mut PgConnection,
    id: TierId,
    details: TicketTierDetails,
) -> Result<Result<TicketTier, Problem>, sqlx::Error> {
    let concert = ticket_tiers::find_concert(connection, id).await?;
    if let Some(concert_id) = concert.filter(|concert_id| *concert_id != details.concert_id) {
        let expected = format!("must be the tier's own concert, {concert_id}");
        return Ok(Err(Problem::invalid_field("concertId", expected)));
    }
    let tier = ticket_tiers::update(connection, id, details).await?;
    Ok(tier.ok_or_else(|| Problem::not_found("ticket tier")))
}
