use axum::extract::State;
use hamro_shared::database::Database;
use serde::Deserialize;
use utoipa::ToSchema;

use super::is_violation_of;
use super::queries::ticket_types;
use super::ticket_type::TicketType;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::{FieldErrors, JsonBody};
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, ExistsProblem, ServerProblems, text};
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
    request_body = TicketTypeBody,
    responses(
        (status = 201, description = "The new ticket type", body = TicketType, headers(
            ("Location" = String, description = "URL of the list of ticket types"),
        )),
        ExistsProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_ticket_type(
    _: Admin,
    State(database): State<Database>,
    JsonBody(body): JsonBody<TicketTypeBody>,
) -> Result<Created<TicketType>, Problem> {
    let mut fields = FieldErrors::default();
    let name = fields.text("name", body.name, 100);
    let name = fields.finish(name)?;
    let created = database
        .transaction(move |connection| Box::pin(ticket_types::insert(connection, name)))
        .await
        .map_err(
            |error| if is_violation_of(&error, "ticket_types_name") { exists() } else { error.into() },
        )?;
    Ok(Created { location: "/ticket-types".to_owned(), body: created })
}

fn exists() -> Problem {
    Problem::of(ProblemCode::AlreadyExists)
}
