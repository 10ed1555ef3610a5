use axum::Json;
use axum::extract::State;
use sqlx::postgres::PgPool;
use utoipa::ToSchema;

use super::ticket_tier::{TicketTier, TicketTierBody, refused};
use crate::admin::Admin;
use crate::extract::BodyWithId;
use crate::openapi::{AdminProblems, BodyProblems, CATALOGUE, NotFoundProblem, ServerProblems};
use crate::problem::Problem;

/// A tier's id, and everything it is made of.
#[derive(ToSchema)]
#[schema(example = json!({"id": 2, "concertId": "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "ticketTypeId": 2, "price": "55.00"}))]
#[expect(dead_code, reason = "says in the document what `BodyWithId` reads")]
pub struct TicketTierUpdate {
    id: i32,
    #[serde(flatten)]
    body: TicketTierBody,
}

/// Change a price tier
///
/// A new price holds for what is sold from now on. A tier stays with its concert.
#[utoipa::path(
    put,
    path = "/ticket-tiers",
    operation_id = "update_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    request_body = TicketTierUpdate,
    responses(
        (status = 200, description = "The tier as it is now", body = TicketTier),
        NotFoundProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn update_ticket_tier(
    _: Admin,
    State(pool): State<PgPool>,
    BodyWithId { id, body }: BodyWithId<i32, TicketTierBody>,
) -> Result<Json<TicketTier>, Problem> {
    let details = body.parse()?;
    let found = sqlx::query_scalar!("SELECT concert_id FROM ticket_tiers WHERE id = $1", id)
        .fetch_optional(&pool)
        .await?;
    match found {
        None => return Err(Problem::not_found("ticket tier")),
        Some(concert_id) if concert_id != details.concert_id => {
            return Err(Problem::invalid_field(
                "concertId",
                format!("must be the tier's own concert, {concert_id}"),
            ));
        }
        Some(_) => {}
    }
    let tier = sqlx::query_as!(
        TicketTier,
        r#"
        UPDATE ticket_tiers
        SET ticket_type_id = $2, price = $3
        WHERE id = $1
        RETURNING id, concert_id, ticket_type_id, price, total, available
        "#,
        id,
        details.ticket_type_id,
        details.price
    )
    .fetch_optional(&pool)
    .await
    .map_err(refused)?;
    tier.map(Json).ok_or_else(|| Problem::not_found("ticket tier"))
}
