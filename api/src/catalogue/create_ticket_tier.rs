use axum::extract::State;
use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;

use super::ticket_tier::{TicketTier, TicketTierBody, TicketTierDetails, map_foreign_key};
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::JsonBody;
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, ServerProblems};
use crate::http::problem::Problem;

/// Create a ticket tier
///
/// A new tier has no seats. Add them with `POST /concerts/{concertId}/seats`.
#[utoipa::path(
    post,
    path = "/ticket-tiers",
    operation_id = "create_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    request_body = TicketTierBody,
    responses(
        (status = 201, description = "The new tier", body = TicketTier, headers(
            ("Location" = String, description = "URL of the tier"),
        )),
        BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    JsonBody(body): JsonBody<TicketTierBody>,
) -> Result<Created<TicketTier>, Problem> {
    let details = body.parse()?;
    let tier = database
        .transaction(move |connection| Box::pin(insert(connection, details)))
        .await
        .map_err(map_foreign_key)?;
    Ok(Created { location: format!("/ticket-tiers/{}", tier.id), body: tier })
}

async fn insert(
    connection: &mut PgConnection,
    details: TicketTierDetails,
) -> Result<TicketTier, sqlx::Error> {
    sqlx::query_as!(
        TicketTier,
        r#"
        INSERT INTO ticket_tiers (concert_id, ticket_type_id, price)
        VALUES ($1, $2, $3)
        RETURNING id, concert_id, ticket_type_id, price, total, available
        "#,
        details.concert_id,
        details.ticket_type_id,
        details.price
    )
    .fetch_one(connection)
    .await
}
