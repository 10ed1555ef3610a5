//! Where a ticket stands, and how it ends.

use hamro_shared::domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::Reply;

/// A final status. Which there are is an open set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sale: Option<Sale>,
    /// Why there is no sale.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Box<str>>,
    /// When, by the system's own clock, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settled_at: Option<i64>,
}

impl Outcome {
    pub(super) fn of(status: &str) -> Self {
        Self { status: status.into(), sale: None, code: None, settled_at: None }
    }

    pub fn is_confirmed(&self) -> bool {
        &*self.status == "confirmed"
    }

    /// Whether both tell the same, so far as they tell it.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.status == other.status && self.sale == other.sale && self.code == other.code
    }
}

/// A booking, as buyers are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    pub id: i64,
    #[serde(rename(deserialize = "userEmail"), alias = "email")]
    pub email: Box<str>,
    #[serde(rename(deserialize = "seatIds"), alias = "seats")]
    pub seats: Box<[i32]>,
}

/// Of a problem document, what kind it is. The earlier system has none.
#[derive(Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub code: Option<Box<str>>,
}

/// A ticket's status document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusDocument {
    status: Box<str>,
    settled_at: Option<Timestamp>,
    booking: Option<Sale>,
    problem: Option<Problem>,
}

/// Where a ticket stands, as it was told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    Queued,
    Final(Outcome),
    /// There is no such ticket.
    Unknown,
    /// Nothing of use: a problem of the moment, or no sense.
    Nothing,
}

impl Told {
    pub fn read(reply: &Reply) -> Self {
        match reply.status {
            200 => Self::of_document(&reply.body),
            404 => Self::Unknown,
            _ => Self::Nothing,
        }
    }

    pub fn of_document(json: &[u8]) -> Self {
        let Ok(document) = serde_json::from_slice::<StatusDocument>(json) else { return Self::Nothing };
        match &*document.status {
            "confirmed" | "rejected" | "expired" | "failed" => Self::Final(Outcome {
                status: document.status,
                sale: document.booking,
                code: document.problem.and_then(|problem| problem.code),
                settled_at: document.settled_at.map(Timestamp::unix_millis),
            }),
            // `queued`; and one that we do not know is not final either.
            _ => Self::Queued,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, location: None, retry_after: None, body: body.to_owned().into() }
    }

    #[test]
    fn a_status_is_final_only_if_it_is_known_to_be() {
        let told = |status: &str| Told::read(&reply(200, &format!(r#"{{"status":"{status}"}}"#)));
        assert_eq!(told("queued"), Told::Queued);
        assert_eq!(told("on-hold"), Told::Queued);
        assert!(matches!(told("failed"), Told::Final(_)));
        assert_eq!(Told::read(&reply(404, "{}")), Told::Unknown);
        assert_eq!(Told::read(&reply(503, "{}")), Told::Nothing);
    }
}
