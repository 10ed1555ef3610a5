use axum::extract::State;
use hamro_shared::database::Database;

use super::queries::ticket_tiers;
use super::ticket_tier::{TicketTier, TicketTierBody, map_foreign_key};
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
        .transaction(move |connection| Box::pin(ticket_tiers::insert(connection, details)))
        .await
        .map_err(map_foreign_key)?;
    Ok(Created { location: format!("/ticket-tiers/{}", tier.id), body: tier })
}
