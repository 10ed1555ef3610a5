//! What is asked for, and what is answered, as the contract has it. Only what the proof needs is read of an answer.

use clap::ValueEnum;
use hamro_shared::domain::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::{NoAnswer, Reply};

/// Which of the two contracts bookings are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// `POST /ticket-bookings`: 202 and a ticket to follow
    Async,
    /// `POST /ticket-bookings/seats`: 201 or why not, as the earlier system has it too
    Sync,
}

impl Target {
    pub fn path(self) -> &'static str {
        match self {
            Self::Async => "/ticket-bookings",
            Self::Sync => "/ticket-bookings/seats",
        }
    }
}

/// What a buyer wants, and asks for once or more often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The buyer's number, from 0.
    pub buyer: u64,
    pub seats: Box<[i32]>,
    /// Which of the buyer's idempotency keys it goes under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<u32>,
}

/// The booking of a wish, as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BookingBody<'a> {
    user_name: String,
    user_email: String,
    seat_ids: &'a [i32],
}

impl Wish {
    /// The body of its request, in the run of this name.
    pub fn body(&self, run: &str) -> Vec<u8> {
        let user_name = format!("Buyer {}", self.buyer);
        let body = BookingBody { user_name, user_email: email(run, self.buyer), seat_ids: &self.seats };
        serde_json::to_vec(&body).expect("numbers and text")
    }

    /// Its idempotency key, which no other run uses.
    pub fn key(&self, run: &str) -> Option<String> {
        self.key.map(|key| format!("{run}-{}-{key}", self.buyer))
    }
}

/// The address by which a buyer of this run is known again.
pub fn email(run: &str, buyer: u64) -> String {
    format!("buyer{buyer}.{run}@example.com")
}

/// The number of the buyer whose address this is; nothing if it is nobody of this run.
pub fn buyer_of(run: &str, email: &str) -> Option<u64> {
    email
        .strip_prefix("buyer")?
        .strip_suffix("@example.com")?
        .strip_suffix(run)?
        .strip_suffix('.')?
        .parse()
        .ok()
}

/// What came back for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// 202: it is in the queue.
    Accepted { ticket: Uuid },
    /// 201: it is booked.
    Booked {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ticket: Option<Uuid>,
        sale: Sale,
    },
    /// A problem. It names a ticket where that has an outcome, or may get one.
    Refused {
        status: u16,
        code: Box<str>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ticket: Option<Uuid>,
    },
    /// None, or one that makes no sense: the request may have had an effect.
    Lost { why: Box<str> },
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    ticket_id: Uuid,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: Option<Box<str>>,
}

impl Answer {
    pub fn read(reply: &Reply) -> Self {
        let at = |location: &String| location.rsplit('/').next().and_then(|id| id.parse().ok());
        let ticket: Option<Uuid> = reply.location.as_ref().and_then(at);
        let senseless = |_| Self::Lost { why: format!("senseless-{}", reply.status).into() };
        match reply.status {
            202 => serde_json::from_slice(&reply.body)
                .map_or_else(senseless, |Accepted { ticket_id }| Self::Accepted { ticket: ticket_id }),
            201 => serde_json::from_slice(&reply.body)
                .map_or_else(senseless, |sale| Self::Booked { ticket, sale }),
            status => {
                let problem: Option<Problem> = serde_json::from_slice(&reply.body).ok();
                // The earlier system has no codes.
                let code = problem.and_then(|problem| problem.code);
                let code = code.unwrap_or_else(|| format!("http-{status}").into());
                Self::Refused { status, code, ticket }
            }
        }
    }

    pub fn lost(error: &NoAnswer) -> Self {
        Self::Lost { why: error.kind().into() }
    }

    pub fn ticket(&self) -> Option<Uuid> {
        match self {
            Self::Accepted { ticket } => Some(*ticket),
            Self::Booked { ticket, .. } | Self::Refused { ticket, .. } => *ticket,
            Self::Lost { .. } => None,
        }
    }

    /// Whether its request may have an effect that the answer does not tell.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Refused { status, code, ticket } => {
                *status >= 500
                    && (ticket.is_some() || code.starts_with("http-"))
                    && &**code != "expired-in-queue"
            }
            Self::Accepted { .. } | Self::Booked { .. } => false,
        }
    }

    /// What it is counted as.
    pub fn name(&self) -> &str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Booked { .. } => "booked",
            Self::Refused { code, .. } => code,
            Self::Lost { why } => why,
        }
    }

    /// The final status that it tells, where it tells one: the waiting contract answers with the outcome itself.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Booked { sale, .. } => {
                Some(Outcome { sale: Some(sale.clone()), ..Outcome::of("confirmed") })
            }
            // Without a ticket: the earlier system's word.
            Self::Refused { status, code, ticket }
                if !self.is_doubtful() && (ticket.is_some() || matches!(status, 404 | 409)) =>
            {
                let status = if &**code == "expired-in-queue" { "expired" } else { "rejected" };
                Some(Outcome { code: Some(code.clone()), ..Outcome::of(status) })
            }
            _ => None,
        }
    }
}

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
    fn of(status: &str) -> Self {
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

    const TICKET: &str = "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88";

    fn reply(status: u16, body: &str) -> Reply {
        let location = Some(format!("/ticket-bookings/{TICKET}"));
        Reply { status, location, retry_after: None, body: body.to_owned().into() }
    }

    #[test]
    fn a_buyer_is_known_by_the_address_in_one_run_only() {
        assert_eq!(buyer_of("x1", &email("x1", 42)), Some(42));
        assert_eq!(buyer_of("x2", &email("x1", 42)), None);
        assert_eq!(buyer_of("x1", "alice@example.com"), None);
    }

    #[test]
    fn answers_are_read_as_the_contract_has_them() {
        let ticket: Uuid = TICKET.parse().unwrap();
        let accepted = Answer::read(&reply(202, &format!(r#"{{"ticketId":"{TICKET}","status":"queued"}}"#)));
        assert_eq!(accepted, Answer::Accepted { ticket });
        let booked = r#"{"id":7,"userName":"B","userEmail":"b@example.com","ticketData":[],"seatIds":[3,1]}"#;
        let sale = Sale { id: 7, email: "b@example.com".into(), seats: [3, 1].into() };
        assert_eq!(Answer::read(&reply(201, booked)), Answer::Booked { ticket: Some(ticket), sale });
        let taken = Answer::read(&reply(409, r#"{"code":"seats-taken","seatIds":[3]}"#));
        assert_eq!(&*taken.outcome().unwrap().status, "rejected");
        assert_eq!(
            &*Answer::read(&reply(503, r#"{"code":"expired-in-queue"}"#)).outcome().unwrap().status,
            "expired"
        );
        assert!(Answer::read(&reply(202, "{}")).is_doubtful());
        assert!(Answer::read(&reply(503, r#"{"code":"broker-unavailable"}"#)).is_doubtful());
        let mut full = reply(503, r#"{"code":"queue-full"}"#);
        full.location = None;
        assert!(!Answer::read(&full).is_doubtful());
    }

    #[test]
    fn what_is_journalled_is_read_again_as_it_was() {
        let sale = Sale { id: 7, email: "b@example.com".into(), seats: [3, 1].into() };
        for answer in [
            Answer::Accepted { ticket: TICKET.parse().unwrap() },
            Answer::Booked { ticket: None, sale },
            Answer::Refused { status: 503, code: "queue-full".into(), ticket: None },
            Answer::Lost { why: "no-answer".into() },
        ] {
            let json = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer, "{json}");
        }
    }

    #[test]
    fn a_status_is_final_only_if_it_is_known_to_be() {
        let told = |status: &str| {
            Told::read(&reply(200, &format!(r#"{{"ticketId":"{TICKET}","status":"{status}"}}"#)))
        };
        assert_eq!(told("queued"), Told::Queued);
        assert_eq!(told("on-hold"), Told::Queued);
        assert!(matches!(told("failed"), Told::Final(_)));
        assert_eq!(Told::read(&reply(404, "{}")), Told::Unknown);
        assert_eq!(Told::read(&reply(503, "{}")), Told::Nothing);
    }
}
