use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;

use super::ticket_tier::TicketTier;
use crate::http::extract::QueryParams;
use crate::http::openapi::{CATALOGUE, ParamProblems, ServerProblems};
use crate::http::pagination::{Page, PageParams, Paged};
use crate::http::problem::Problem;

/// List the ticket tiers of all concerts
#[utoipa::path(
    get,
    path = "/ticket-tiers",
    operation_id = "list_ticket_tiers",
    tag = CATALOGUE,
    params(PageParams),
    responses((status = 200, description = "One page of ticket tiers", body = Paged<TicketTier>), ParamProblems, ServerProblems),
)]
pub async fn list_ticket_tiers(
    State(database): State<Database>,
    QueryParams(params): QueryParams<PageParams>,
) -> Result<Json<Paged<TicketTier>>, Problem> {
    let page = params.parse()?;
    let tiers = database.query(move |connection| Box::pin(find(connection, page))).await?;
    let total = database.query(|connection| Box::pin(count(connection))).await?;
    Ok(Json(page.of(tiers, total)))
}

/// A tier whose price is no number is left out: it cannot be sold, and must not hide the others.
async fn find(connection: &mut PgConnection, page: Page) -> Result<Vec<TicketTier>, sqlx::Error> {
    sqlx::query_as!(
        TicketTier,
        r#"
        SELECT id, concert_id, ticket_type_id, price, total, available
        FROM ticket_tiers
        WHERE price <> 'NaN'
        ORDER BY id
        LIMIT $1 OFFSET $2
        "#,
        page.limit,
        page.offset()
    )
    .fetch_all(connection)
    .await
}

async fn count(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM ticket_tiers WHERE price <> 'NaN'"#)
        .fetch_one(connection)
        .await
}
