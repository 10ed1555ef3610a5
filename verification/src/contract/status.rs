//! Ticket statuses and outcomes.

use hamro_shared::domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::HttpResponse;

/// A final status. Statuses are an open set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sale: Option<Sale>,
    /// The problem code if there is no sale.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Box<str>>,
    /// By the system's clock, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settled_at: Option<i64>,
    /// The seats that a rejection names as taken.
    #[serde(skip_serializing_if = "<[i32]>::is_empty", default)]
    pub taken: Box<[i32]>,
}

impl Outcome {
    pub(super) fn of(status: &str) -> Self {
        Self { status: status.into(), sale: None, code: None, settled_at: None, taken: Box::default() }
    }

    pub fn is_confirmed(&self) -> bool {
        &*self.status == "confirmed"
    }
}

/// A confirmed booking, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    pub id: i64,
    pub email: Box<str>,
    pub seats: Box<[i32]>,
}

/// A confirmed booking, as clients receive it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BookingDocument {
    id: i64,
    user_email: Box<str>,
    seat_ids: Box<[i32]>,
}

impl From<BookingDocument> for Sale {
    fn from(document: BookingDocument) -> Self {
        Self { id: document.id, email: document.user_email, seats: document.seat_ids }
    }
}

/// A problem document.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Problem {
    /// The earlier system has none.
    pub code: Option<Box<str>>,
    seat_ids: Box<[i32]>,
}

impl Problem {
    /// The seats that it names, if it says that they are taken.
    pub fn taken_seats(&self) -> Box<[i32]> {
        let is_about_taken_seats = self.code.as_deref().is_some_and(names_taken_seats);
        if is_about_taken_seats { self.seat_ids.clone() } else { Box::default() }
    }
}

/// Whether a problem with this code says that seats are taken, and names them.
pub fn names_taken_seats(code: &str) -> bool {
    matches!(code, "seats-taken" | "sold-out")
}

/// A ticket's status document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusDocument {
    status: Box<str>,
    settled_at: Option<Timestamp>,
    booking: Option<BookingDocument>,
    problem: Option<Problem>,
}

/// The status of a ticket in a response.
#[derive(Debug, PartialEq, Eq)]
pub enum ObservedStatus {
    Queued,
    Final(Outcome),
    /// The ticket does not exist.
    Unknown,
    /// No status: a temporary problem or an invalid response.
    Unavailable,
}

impl ObservedStatus {
    pub fn read(reply: &HttpResponse) -> Self {
        match reply.status {
            200 => Self::of_document(&reply.body),
            404 => Self::Unknown,
            _ => Self::Unavailable,
        }
    }

    pub fn of_document(json: &[u8]) -> Self {
        let Ok(document) = serde_json::from_slice::<StatusDocument>(json) else { return Self::Unavailable };
        match &*document.status {
            "confirmed" | "rejected" | "expired" | "failed" => Self::Final(Outcome {
                status: document.status,
                sale: document.booking.map(Sale::from),
                taken: document.problem.as_ref().map(Problem::taken_seats).unwrap_or_default(),
                code: document.problem.and_then(|problem| problem.code),
                settled_at: document.settled_at.map(Timestamp::unix_millis),
            }),
            // `queued`, or an unknown status, which does not count as final.
            _ => Self::Queued,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn reply(status: u16, body: &str) -> HttpResponse {
        HttpResponse { status, headers: HeaderMap::new(), body: body.to_owned().into() }
    }

    #[test]
    fn an_unknown_status_does_not_count_as_final() {
        let read = |status: &str| ObservedStatus::read(&reply(200, &format!(r#"{{"status":"{status}"}}"#)));
        assert_eq!(read("queued"), ObservedStatus::Queued);
        assert_eq!(read("on-hold"), ObservedStatus::Queued);
        assert!(matches!(read("failed"), ObservedStatus::Final(_)));
        assert_eq!(ObservedStatus::read(&reply(404, "{}")), ObservedStatus::Unknown);
        assert_eq!(ObservedStatus::read(&reply(503, "{}")), ObservedStatus::Unavailable);
    }
}
