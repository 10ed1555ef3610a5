use axum::extract::State;
use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;

use super::create_once::create_once;
use super::queries::ticket_tiers;
use super::ticket_tier::{TicketTier, TicketTierBody, TicketTierDetails, exists, map_violation};
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::keyed_body::{CreationKeyParam, KeyedBody};
use crate::http::openapi::{AdminProblems, CATALOGUE, ExistsProblem, KeyedBodyProblems, ServerProblems};
use crate::http::problem::Problem;

/// Create a ticket tier
///
/// A new tier has no seats. Add them with `POST /concerts/{concertId}/seats`. A concert has one tier of each ticket
/// type.
#[utoipa::path(
    post,
    path = "/ticket-tiers",
    operation_id = "create_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(CreationKeyParam),
    request_body = TicketTierBody,
    responses(
        (status = 201, description = "The new tier", body = TicketTier, headers(
            ("Location" = String, description = "URL of the tier"),
            ("ETag" = String, description = "For `If-Match`"),
        )),
        ExistsProblem, KeyedBodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    KeyedBody { body, key }: KeyedBody<TicketTierBody>,
) -> Result<Created, Problem> {
    let details = body.parse()?;
    create_once(&database, key, |connection| Box::pin(create(connection, details)))
        .await
        .map_err(map_violation)?
}

async fn create(
    connection: &mut PgConnection,
    details: TicketTierDetails,
) -> Result<Result<Created, Problem>, sqlx::Error> {
    if let Some(other) =
        ticket_tiers::find_of_type(connection, details.concert_id, details.ticket_type_id).await?
    {
        return Ok(Err(exists(Some(other))));
    }
    let tier = ticket_tiers::insert(connection, details).await?;
    let location = format!("/ticket-tiers/{}", tier.id);
    Ok(Ok(Created::new(location, &tier).tagged(&tier.etag())))
}
