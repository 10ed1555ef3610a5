use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hamro_shared::domain::Outcome;

use super::TicketStatus;
use super::outcome::{find_or_wait, verify_ticket};
use super::status::etag_of;
use super::trace::{end_wait, wait_span};
use super::wait::hold_preferred;
use crate::http::client_address::Client;
use crate::http::extract::{PathId, QueryParams};
use crate::http::openapi::{BOOKINGS, ParamProblems, ServerProblems, TicketProblems};
use crate::http::prefer::{Prefer, WaitParams};
use crate::http::problem::Problem;
use crate::http::retry_after::retry_after;
use crate::server::request_span::RequestTrace;
use crate::state::AppState;

/// Get the status of a booking
///
/// A final status never changes. If an administrator releases seats of a confirmed booking, the document lists them and has
/// another `ETag`. `wait` or `Prefer: wait` holds the response until the status is final, or the time is
/// up.
#[utoipa::path(
    get,
    path = "/ticket-bookings/{ticketId}",
    operation_id = "get_booking",
    tag = BOOKINGS,
    security(),
    params(
        ("ticketId" = Uuid, Path, description = "The ticket id from the response to the booking", example = "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88"),
        WaitParams,
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10", description = "`wait=10`: the same as the parameter `wait` (RFC 7240)"),
        ("If-None-Match" = Option<String>, Header, nullable = false, example = "W/\"1763828062341\"", description = "The `ETag` of a final status that the client already has"),
    ),
    responses(
        (status = 200, description = "The status of the booking", body = TicketStatus, headers(
            ("Retry-After" = u64, description = "While queued: seconds to wait before polling again"),
            ("ETag" = String, description = "Sent once the status is final"),
        )),
        (status = 304, description = "The client already has the final status"),
        TicketProblems, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_booking(
    State(app): State<AppState>,
    client: Client,
    RequestTrace(trace): RequestTrace,
    PathId(text): PathId<String>,
    QueryParams(params): QueryParams<WaitParams>,
    prefer: Prefer,
    request_headers: HeaderMap,
) -> Result<Response, Problem> {
    let ticket = verify_ticket(&app, &text)?;
    let (preference, _held) = hold_preferred(&app, client, params.hold(prefer, app.policy.max_wait)?);
    let span = if preference.is_zero() { None } else { wait_span(&app, trace, ticket) };
    let settled = find_or_wait(&app, ticket, preference.duration()).await?;
    end_wait(span, settled.as_deref());
    let Some(settled) = settled else {
        let position = app.position(ticket);
        let headers = [
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (RETRY_AFTER, retry_after(position.eta_seconds)),
        ];
        return Ok(
            (preference.headers(), headers, Json(TicketStatus::queued(ticket, position))).into_response()
        );
    };
    // Only the ticket holder may cache it. A final status never changes, but an administrator may release seats of a booking.
    let etag = etag_of(&settled);
    let may_change = matches!(settled.outcome, Outcome::Confirmed { .. });
    let cache = if may_change { "private, no-cache" } else { "private, max-age=60" };
    let cache = [(CACHE_CONTROL, HeaderValue::from_static(cache))];
    if etag.is_known_to(&request_headers) {
        return Ok((StatusCode::NOT_MODIFIED, preference.headers(), cache, etag, ()).into_response());
    }
    Ok((preference.headers(), cache, etag, Json(TicketStatus::settled((*settled).clone()))).into_response())
}
