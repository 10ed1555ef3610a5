use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use hamro_shared::database::tickets;
use hamro_shared::domain::{SettledTicket, TicketId};

use super::TicketStatus;
use crate::extract::Id;
use crate::openapi::BOOKINGS;
use crate::problem::{Problem, ProblemCode, ProblemDocument};
use crate::state::AppState;

/// See where a ticket stands
///
/// A final status never changes.
#[utoipa::path(
    get,
    path = "/ticket-bookings/{ticketId}",
    operation_id = "get_booking",
    tag = BOOKINGS,
    params(("ticketId" = String, Path, description = "The ticket's id, as it was handed out")),
    responses(
        (status = 200, description = "Where it stands", body = TicketStatus, headers(
            ("Retry-After" = u64, description = "While it is queued: in how many seconds to ask again"),
        )),
        (status = 404, description = "No ticket of ours", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn get_booking(State(app): State<AppState>, Id(text): Id<String>) -> Result<Response, Problem> {
    let ticket = app.rules.ticket_keys.verify(&text).ok_or_else(|| {
        Problem::new(ProblemCode::TicketNotFound, "This is no ticket that was handed out here.")
    })?;
    Ok(match find_outcome(&app, ticket).await? {
        Some(settled) => {
            let cache = [(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"))];
            (cache, Json(TicketStatus::settled(settled))).into_response()
        }
        None => {
            let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (RETRY_AFTER, 1.into())];
            (headers, Json(TicketStatus::queued(ticket))).into_response()
        }
    })
}

/// The ticket's outcome, if it has one; a ticket past its deadline gets one here and now.
async fn find_outcome(app: &AppState, ticket: TicketId) -> Result<Option<SettledTicket>, sqlx::Error> {
    let mut connection = app.pool.acquire().await?;
    let settled = tickets::find_settled(&mut connection, &[ticket]).await?.pop();
    drop(connection);
    let now = app.clock.now();
    if settled.is_none() && now > ticket.issued_at() + app.rules.booking_deadline {
        return tickets::expire(&app.pool, ticket, now).await.map(Some);
    }
    Ok(settled)
}
