use axum::extract::State;
use hamro_shared::database::Database;
use serde::Deserialize;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use super::create_once::create_once;
use super::is_violation_of;
use super::queries::ticket_types;
use super::ticket_type::TicketType;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::FieldErrors;
use crate::http::keyed_body::{CreationKeyParam, KeyedBody};
use crate::http::openapi::{
    AdminProblems, CATALOGUE, ExistsProblem, KeyedBodyProblems, ServerProblems, text,
};
use crate::http::problem::{Problem, ProblemCode};

#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"name": "Balcony"}))]
pub struct TicketTypeBody {
    #[schema(required = true, schema_with = text::<100>)]
    name: Option<String>,
}

/// Create a ticket type
///
/// Next, add tiers of this type to concerts (`POST /ticket-tiers`).
#[utoipa::path(
    post,
    path = "/ticket-types",
    operation_id = "create_ticket_type",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(CreationKeyParam),
    request_body = TicketTypeBody,
    responses(
        (status = 201, description = "The new ticket type", body = TicketType, headers(
            ("Location" = String, description = "URL of the list of ticket types"),
        )),
        ExistsProblem, KeyedBodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_ticket_type(
    _: Admin,
    State(database): State<Database>,
    KeyedBody { body, key }: KeyedBody<TicketTypeBody>,
) -> Result<Created, Problem> {
    let mut fields = FieldErrors::default();
    let name = fields.text("name", body.name, 100);
    let name = fields.finish(name)?;
    create_once(&database, key, |connection| Box::pin(create(connection, name)))
        .await
        .map_err(|error| if is_violation_of(&error, "ticket_types_name") { exists() } else { error.into() })?
}

async fn create(
    connection: &mut PgConnection,
    name: String,
) -> Result<Result<Created, Problem>, sqlx::Error> {
    let created = ticket_types::insert(connection, name).await?;
    Ok(Ok(Created::new("/ticket-types".to_owned(), &created)))
}

fn exists() -> Problem {
    Problem::of(ProblemCode::AlreadyExists)
}
