//! Responses to bookings, on both endpoints.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::status::{BookingDocument, Outcome, Problem, Sale};
use crate::http::{HttpResponse, RequestError};

/// The problem codes with which the waiting endpoint reports that a booking expired or failed.
const EXPIRED: &str = "expired-in-queue";
const FAILED: &str = "internal";

/// The response to a booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BookingResponse {
    /// 202: it is in the queue.
    Accepted { ticket: Uuid },
    /// 201: it is booked.
    Booked {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ticket: Option<Uuid>,
        sale: Sale,
    },
    /// A problem. It has a ticket if the ticket has an outcome or may get one.
    Refused {
        status: u16,
        code: Box<str>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ticket: Option<Uuid>,
        /// The seats that it names as taken.
        #[serde(skip_serializing_if = "<[i32]>::is_empty", default)]
        taken: Box<[i32]>,
    },
    /// No response, or an invalid one. The request may have had an effect.
    #[serde(alias = "lost")]
    Missing {
        #[serde(alias = "why")]
        reason: Box<str>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    ticket_id: Uuid,
}

impl BookingResponse {
    pub fn read(reply: &HttpResponse) -> Self {
        let ticket_of = |location: &str| location.rsplit('/').next().and_then(|id| id.parse().ok());
        let ticket: Option<Uuid> = reply.location().and_then(ticket_of);
        let invalid = |_| Self::Missing { reason: format!("invalid-{}", reply.status).into() };
        match reply.status {
            202 => serde_json::from_slice(&reply.body)
                .map_or_else(invalid, |Accepted { ticket_id }| Self::Accepted { ticket: ticket_id }),
            201 => serde_json::from_slice(&reply.body).map_or_else(invalid, |booking: BookingDocument| {
                Self::Booked { ticket, sale: booking.into() }
            }),
            status => {
                let problem: Problem = serde_json::from_slice(&reply.body).unwrap_or_default();
                let taken = problem.taken_seats();
                // The earlier system has no problem codes.
                let code = problem.code.unwrap_or_else(|| format!("http-{status}").into());
                Self::Refused { status, code, ticket, taken }
            }
        }
    }

    pub fn missing(error: &RequestError) -> Self {
        Self::Missing { reason: error.kind().into() }
    }

    pub fn ticket(&self) -> Option<Uuid> {
        match self {
            Self::Accepted { ticket } => Some(*ticket),
            Self::Booked { ticket, .. } | Self::Refused { ticket, .. } => *ticket,
            Self::Missing { .. } => None,
        }
    }

    /// Whether the booking was rejected without being queued.
    pub fn is_early_rejection(&self) -> bool {
        self.ticket().is_none() && self.outcome().is_some_and(|outcome| outcome.sale.is_none())
    }

    /// Whether the request may have had an effect that the response does not report.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::Refused { status, code, ticket, .. } => {
                *status >= 500
                    && (ticket.is_some() || code.starts_with("http-"))
                    && !matches!(&**code, EXPIRED | FAILED)
            }
            Self::Accepted { .. } | Self::Booked { .. } => false,
        }
    }

    /// The name under which the response is counted.
    pub fn name(&self) -> &str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Booked { .. } => "booked",
            Self::Refused { code, .. } => code,
            Self::Missing { reason } => reason,
        }
    }

    /// The final status, if the response reports one. The waiting endpoint responds with the outcome itself.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Booked { sale, .. } => {
                Some(Outcome { sale: Some(sale.clone()), ..Outcome::of("confirmed") })
            }
            // Without a ticket: rejected without being queued, or a response of the earlier system.
            Self::Refused { status, code, ticket, taken }
                if !self.is_ambiguous() && (ticket.is_some() || matches!(status, 404 | 409)) =>
            {
                let status = match &**code {
                    EXPIRED => "expired",
                    FAILED => "failed",
                    _ => "rejected",
                };
                Some(Outcome { code: Some(code.clone()), taken: taken.clone(), ..Outcome::of(status) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::{HeaderValue, LOCATION};

    use super::*;

    const TICKET: &str = "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88";

    fn reply(status: u16, body: &str) -> HttpResponse {
        let location = HeaderValue::try_from(format!("/ticket-bookings/{TICKET}")).unwrap();
        let headers = HeaderMap::from_iter([(LOCATION, location)]);
        HttpResponse { status, headers, body: body.to_owned().into() }
    }

    #[test]
    fn responses_are_read_according_to_the_contract() {
        let ticket: Uuid = TICKET.parse().unwrap();
        let accepted =
            BookingResponse::read(&reply(202, &format!(r#"{{"ticketId":"{TICKET}","status":"queued"}}"#)));
        assert_eq!(accepted, BookingResponse::Accepted { ticket });
        let booked = r#"{"id":7,"userName":"B","userEmail":"b@example.com","ticketData":[],"seatIds":[3,1],"seats":[{"id":3}]}"#;
        let sale = Sale { id: 7, email: "b@example.com".into(), seats: [3, 1].into() };
        assert_eq!(
            BookingResponse::read(&reply(201, booked)),
            BookingResponse::Booked { ticket: Some(ticket), sale }
        );
        for (status, body, expected, taken) in [
            (409, r#"{"code":"seats-taken","seatIds":[3]}"#, "rejected", [3].as_slice()),
            (404, r#"{"code":"seats-not-found","seatIds":[3]}"#, "rejected", &[]),
            (503, r#"{"code":"expired-in-queue"}"#, "expired", &[]),
            (500, r#"{"code":"internal"}"#, "failed", &[]),
        ] {
            let outcome = BookingResponse::read(&reply(status, body)).outcome().unwrap();
            assert_eq!((&*outcome.status, &*outcome.taken), (expected, taken), "{body}");
        }
        assert!(BookingResponse::read(&reply(202, "{}")).is_ambiguous());
        assert!(BookingResponse::read(&reply(503, r#"{"code":"broker-unavailable"}"#)).is_ambiguous());
        let mut full = reply(503, r#"{"code":"queue-full"}"#);
        full.headers.clear();
        assert!(!BookingResponse::read(&full).is_ambiguous());
    }

    #[test]
    fn a_decoded_response_equals_the_written_one() {
        let sale = Sale { id: 7, email: "b@example.com".into(), seats: [3, 1].into() };
        for response in [
            BookingResponse::Accepted { ticket: TICKET.parse().unwrap() },
            BookingResponse::Booked { ticket: None, sale },
            BookingResponse::Refused {
                status: 409,
                code: "seats-taken".into(),
                ticket: None,
                taken: [1].into(),
            },
            BookingResponse::Missing { reason: "no-response".into() },
        ] {
            let json = serde_json::to_string(&response).unwrap();
            assert_eq!(serde_json::from_str::<BookingResponse>(&json).unwrap(), response, "{json}");
        }
        let earlier: BookingResponse = serde_json::from_str(r#"{"lost":{"why":"no-response"}}"#).unwrap();
        assert_eq!(earlier, BookingResponse::Missing { reason: "no-response".into() });
    }
}
