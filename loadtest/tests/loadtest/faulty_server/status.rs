//! Ticket statuses of the faulty server.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Defect, Endpoint, FaultyServer, Ticket};

pub async fn status(
    State(server): State<Arc<FaultyServer>>,
    Extension(endpoint): Extension<Endpoint>,
    Path(id): Path<Uuid>,
) -> Response {
    match server.status_document(endpoint, id) {
        Some(document) => Json(document).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Sends all events of a ticket at once.
pub async fn events(
    State(server): State<Arc<FaultyServer>>,
    Extension(endpoint): Extension<Endpoint>,
    Path(id): Path<Uuid>,
) -> Response {
    let Some(last) = server.status_document(endpoint, id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let queued = json!({"ticketId": id, "status": "queued"});
    let takes_back = server.has_defect(server.number_of(id), Defect::StreamTakesItBack);
    let documents = if takes_back { vec![&queued, &last, &queued] } else { vec![&queued, &last] };
    let events: Vec<String> =
        documents.iter().map(|document| format!("event: status\ndata: {document}\n\n")).collect();
    let body = events.concat();
    ([("content-type", "text/event-stream")], body).into_response()
}

impl FaultyServer {
    fn number_of(&self, id: Uuid) -> u64 {
        self.state().tickets.get(&id).map(|ticket| ticket.number).unwrap_or_default()
    }

    /// The status document of a ticket, with the defect. `None` if the ticket is unknown.
    fn status_document(&self, endpoint: Endpoint, id: Uuid) -> Option<Value> {
        let mut state = self.state();
        let ticket = state.tickets.get_mut(&id)?;
        ticket.polls += 1;
        let Ticket { number, booking, polls, reported_at } = ticket.clone();
        if self.has_defect(number, Defect::ForgetsATicket) {
            return None;
        }
        let is_behind = match self.defect {
            Defect::LagsBehind(lag) if endpoint == Endpoint::Second => {
                reported_at.is_none_or(|at| at.elapsed() < lag)
            }
            _ => false,
        };
        let has_gone_back = self.has_defect(number, Defect::TakesItBack) && polls > 1;
        if is_behind || has_gone_back || self.has_defect(number, Defect::LosesATicket) {
            return Some(json!({"ticketId": id, "status": "queued"}));
        }
        if endpoint == Endpoint::First {
            ticket.reported_at.get_or_insert_with(Instant::now);
        }
        let has_changed = self.has_defect(number, Defect::ChangesItsMind) && polls > 1;
        Some(match booking {
            Ok(booking) if !has_changed => json!({
                "ticketId": id, "status": "confirmed", "settledAt": "2026-11-22T16:14:22.341Z", "booking": booking,
            }),
            booking => json!({
                "ticketId": id, "status": "rejected", "settledAt": "2026-11-22T16:14:22.341Z",
                "problem": booking.err().unwrap_or_else(|| json!({"code": "seats-taken", "seatIds": [1]})),
            }),
        })
    }
}
