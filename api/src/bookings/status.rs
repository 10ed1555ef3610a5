//! The status document of a ticket.

use hamro_shared::domain::{Booking, Outcome, SettledTicket, TicketId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::problem::{Problem, ProblemCode, ProblemDocument};
use crate::outcomes::queue_estimate::QueuePosition;

/// Where a ticket stands. `status` is an open set: treat one that you do not know as not final.
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
    pub status: Status,
    pub submitted_at: Timestamp,
    /// When it reached its final status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub settled_at: Option<Timestamp>,
    /// While it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub queue: Option<QueuePosition>,
    /// What was booked, when it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub booking: Option<Booking>,
    /// Why it was not, otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<ProblemDocument>,
}

/// The state of a ticket; all but `queued` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Queued,
    Confirmed,
    Rejected,
    Expired,
    Failed,
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
            problem: None,
        }
    }

    /// What its status is called: the id of the event that tells it.
    pub fn id(&self) -> &'static str {
        match self.status {
            Status::Queued => "queued",
            Status::Confirmed => "confirmed",
            Status::Rejected => "rejected",
            Status::Expired => "expired",
            Status::Failed => "failed",
        }
    }

    pub fn settled(settled: SettledTicket) -> Self {
        let status = match settled.outcome {
            Outcome::Confirmed { .. } => Status::Confirmed,
            Outcome::Rejected { .. } => Status::Rejected,
            Outcome::Expired => Status::Expired,
            Outcome::Failed => Status::Failed,
        };
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
            problem,
        }
    }
}

/// The booking that a ticket ended in, or the problem that it ended in instead: the same problem whether a client
/// waited for it or reads it in the status document.
pub fn booking_or_problem(outcome: Outcome) -> Result<Booking, Problem> {
    match outcome {
        Outcome::Confirmed { booking } => Ok(booking),
        Outcome::Rejected { rejection } => Err(rejection.into()),
        Outcome::Expired => Err(expired()),
        Outcome::Failed => Err(failed()),
    }
}

fn expired() -> Problem {
    let detail = "It waited in the queue past its deadline. Nothing was booked; try again.";
    Problem::new(ProblemCode::ExpiredInQueue, detail).retry_after(2)
}

fn failed() -> Problem {
    Problem::new(
        ProblemCode::Internal,
        "The booking could not be processed. Nothing was booked; the fault is ours.",
    )
}
