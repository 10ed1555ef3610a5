use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::TierId;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use super::queries::ticket_tiers;
use super::ticket_tier::{TicketTier, TicketTierBody, TicketTierDetails, exists, map_violation};
use super::tier_precondition::check;
use crate::http::admin_auth::Admin;
use crate::http::etag::ETag;
use crate::http::extract::JsonBodyWithId;
use crate::http::if_match::{IfMatch, IfMatchParam};
use crate::http::openapi::{
    AdminProblems, BodyProblems, CATALOGUE, ExistsProblem, NotFoundProblem, PreconditionProblem,
    ServerProblems,
};
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
/// A new price applies to later sales only. A tier cannot move to another concert. A sale changes the tier's `ETag`, but
/// does not make `If-Match` fail.
#[utoipa::path(
    put,
    path = "/ticket-tiers",
    operation_id = "update_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(IfMatchParam),
    request_body = TicketTierUpdate,
    responses(
        (status = 200, description = "The updated tier", body = TicketTier, headers(
            ("ETag" = String, description = "For `If-Match`"),
        )),
        NotFoundProblem, ExistsProblem, PreconditionProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn update_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    if_match: Option<IfMatch>,
    JsonBodyWithId { id, body }: JsonBodyWithId<TierId, TicketTierBody>,
) -> Result<(ETag, Json<TicketTier>), Problem> {
    let details = body.parse()?;
    let tier = database
        .transaction(move |connection| Box::pin(update(connection, id, details, if_match)))
        .await
        .map_err(map_violation)??;
    Ok((tier.etag(), Json(tier)))
}

/// Updates the tier, or returns what is wrong with the request.
async fn update(
    connection: &mut PgConnection,
    id: TierId,
    details: TicketTierDetails,
    if_match: Option<IfMatch>,
) -> Result<Result<TicketTier, Problem>, sqlx::Error> {
    let Some(stored) = ticket_tiers::lock(connection, id).await? else {
        return Ok(Err(Problem::not_found("ticket tier")));
    };
    if let Err(problem) = check(connection, id, if_match).await? {
        return Ok(Err(problem));
    }
    if stored.concert_id != details.concert_id {
        let expected = format!("must be the tier's own concert, {}", stored.concert_id);
        return Ok(Err(Problem::invalid_field("concertId", expected)));
    }
    if stored.ticket_type_id != details.ticket_type_id
        && let Some(other) =
            ticket_tiers::find_of_type(connection, details.concert_id, details.ticket_type_id).await?
    {
        return Ok(Err(exists(Some(other))));
    }
    ticket_tiers::update(connection, id, details).await.map(Ok)
}
