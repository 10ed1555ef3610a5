//! The status document of a ticket.

use hamro_shared::domain::{Booking, Outcome, SeatId, SettledTicket, TicketId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::etag::ETag;
use crate::http::problem::{Problem, ProblemCode, ProblemDocument};
use crate::outcomes::queue_estimate::QueuePosition;

/// The status of a booking.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "ticketId": "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88",
    "status": "queued",
    "submittedAt": "2026-11-22T16:14:22.341Z",
    "queue": {"ahead": null, "etaSeconds": null},
}))]
pub struct TicketStatus {
    pub ticket_id: TicketId,
    /// `queued`, or one of the final statuses `confirmed`, `rejected`, `expired` and `failed`. New values may be added:
    /// treat an unknown one as not final.
    // Not an enumeration, which generated clients would refuse to read with a value that they do not know.
    #[schema(value_type = String, example = "queued", extensions(
        ("x-extensible-enum" = json!(["queued", "confirmed", "rejected", "expired", "failed"])),
    ))]
    pub status: Status,
    pub submitted_at: Timestamp,
    /// When the status became final.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub settled_at: Option<Timestamp>,
    /// The position in the queue, while `queued`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub queue: Option<QueuePosition>,
    /// The booking, if `confirmed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub booking: Option<Booking>,
    /// Those of the booking's seats that an administrator has released: they no longer belong to it. Missing if none. The
    /// status stays `confirmed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub released_seat_ids: Vec<SeatId>,
    /// Why nothing was booked, if `rejected`, `expired` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<ProblemDocument>,
}

/// All values except `queued` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Queued,
    Confirmed,
    Rejected,
    Expired,
    Failed,
}

impl Status {
    /// The name of the status, as in JSON. It is also the id of the event that reports the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

impl TicketStatus {
    pub fn queued(ticket: TicketId, position: QueuePosition) -> Self {
        Self {
            ticket_id: ticket,
            status: Status::Queued,
            submitted_at: ticket.issued_at(),
            settled_at: None,
            queue: Some(position),
            booking: None,
            released_seat_ids: Vec::new(),
            problem: None,
        }
    }

    pub fn settled(settled: SettledTicket) -> Self {
        let status = match settled.outcome {
            Outcome::Confirmed { .. } => Status::Confirmed,
            Outcome::Rejected { .. } => Status::Rejected,
            Outcome::Expired => Status::Expired,
            Outcome::Failed => Status::Failed,
        };
        let released_seat_ids = settled.released_seat_ids().to_vec();
        let (booking, problem) = match booking_or_problem(settled.outcome) {
            Ok(booking) => (Some(booking), None),
            Err(problem) => (None, Some(problem.document())),
        };
        Self {
            ticket_id: settled.ticket_id,
            status,
            submitted_at: settled.ticket_id.issued_at(),
            settled_at: Some(settled.settled_at),
            queue: None,
            booking,
            released_seat_ids,
            problem,
        }
    }
}

/// The version of the status document of a settled ticket.
pub fn etag_of(settled: &SettledTicket) -> ETag {
    let settled_at = settled.settled_at.unix_millis();
    match settled.revision() {
        0 => ETag::of(&settled_at),
        revision => ETag::of(&format!("{settled_at}.{revision}")),
    }
}

/// The booking of a confirmed ticket, or else the problem. The problem is the same in a held response and in the status
/// document.
pub fn booking_or_problem(outcome: Outcome) -> Result<Booking, Problem> {
    match outcome {
        Outcome::Confirmed { booking } => Ok(booking),
        Outcome::Rejected { rejection } => Err(rejection.into()),
        Outcome::Expired => Err(expired()),
        Outcome::Failed => Err(failed()),
    }
}

fn expired() -> Problem {
    Problem::of(ProblemCode::ExpiredInQueue).retry_after(2)
}

fn failed() -> Problem {
    Problem::new(
        ProblemCode::Internal,
        "The booking failed because of an internal error, which was logged. Nothing was booked.",
    )
}
