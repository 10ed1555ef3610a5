//! The precondition of a change of a tier.

use hamro_shared::domain::TierId;
use sqlx::postgres::PgConnection;

use super::queries::ticket_tiers;
use crate::http::if_match::IfMatch;
use crate::http::problem::Problem;

/// Checks `If-Match` against the tier, which must exist and be locked. Without the header, the tier is not read.
pub async fn check(
    connection: &mut PgConnection,
    id: TierId,
    if_match: Option<IfMatch>,
) -> Result<Result<(), Problem>, sqlx::Error> {
    let Some(if_match) = if_match else { return Ok(Ok(())) };
    let tier = ticket_tiers::find(connection, id).await?;
    Ok(tier.ok_or_else(|| Problem::not_found("ticket tier")).and_then(|tier| if_match.check(&tier.etag())))
}
