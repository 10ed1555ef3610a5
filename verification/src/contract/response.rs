//! Responses to bookings, on both endpoints.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::status::{Outcome, Problem, Sale};
use crate::http::{HttpResponse, RequestError};

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
    },
    /// No response, or an invalid one. The request may have had an effect.
    Lost { why: Box<str> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    ticket_id: Uuid,
}

impl BookingResponse {
    pub fn read(reply: &HttpResponse) -> Self {
        let at = |location: &str| location.rsplit('/').next().and_then(|id| id.parse().ok());
        let ticket: Option<Uuid> = reply.location().and_then(at);
        let senseless = |_| Self::Lost { why: format!("senseless-{}", reply.status).into() };
        match reply.status {
            202 => serde_json::from_slice(&reply.body)
                .map_or_else(senseless, |Accepted { ticket_id }| Self::Accepted { ticket: ticket_id }),
            201 => serde_json::from_slice(&reply.body)
                .map_or_else(senseless, |sale| Self::Booked { ticket, sale }),
            status => {
                let problem: Option<Problem> = serde_json::from_slice(&reply.body).ok();
                // The earlier system has no problem codes.
                let code = problem.and_then(|problem| problem.code);
                let code = code.unwrap_or_else(|| format!("http-{status}").into());
                Self::Refused { status, code, ticket }
            }
        }
    }

    pub fn lost(error: &RequestError) -> Self {
        Self::Lost { why: error.kind().into() }
    }

    pub fn ticket(&self) -> Option<Uuid> {
        match self {
            Self::Accepted { ticket } => Some(*ticket),
            Self::Booked { ticket, .. } | Self::Refused { ticket, .. } => *ticket,
            Self::Lost { .. } => None,
        }
    }

    /// Whether the request may have had an effect that the response does not report.
    pub fn is_ambiguous(&self) -> bool {
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

    /// The name under which the response is counted.
    pub fn name(&self) -> &str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Booked { .. } => "booked",
            Self::Refused { code, .. } => code,
            Self::Lost { why } => why,
        }
    }

    /// The final status, if the response reports one. The waiting endpoint responds with the outcome itself.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Booked { sale, .. } => {
                Some(Outcome { sale: Some(sale.clone()), ..Outcome::of("confirmed") })
            }
            // Without a ticket: a response of the earlier system.
            Self::Refused { status, code, ticket }
                if !self.is_ambiguous() && (ticket.is_some() || matches!(status, 404 | 409)) =>
            {
                let status = if &**code == "expired-in-queue" { "expired" } else { "rejected" };
                Some(Outcome { code: Some(code.clone()), ..Outcome::of(status) })
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
        let booked = r#"{"id":7,"userName":"B","userEmail":"b@example.com","ticketData":[],"seatIds":[3,1]}"#;
        let sale = Sale { id: 7, email: "b@example.com".into(), seats: [3, 1].into() };
        assert_eq!(
            BookingResponse::read(&reply(201, booked)),
            BookingResponse::Booked { ticket: Some(ticket), sale }
        );
        let taken = BookingResponse::read(&reply(409, r#"{"code":"seats-taken","seatIds":[3]}"#));
        assert_eq!(&*taken.outcome().unwrap().status, "rejected");
        assert_eq!(
            &*BookingResponse::read(&reply(503, r#"{"code":"expired-in-queue"}"#)).outcome().unwrap().status,
            "expired"
        );
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
            BookingResponse::Refused { status: 503, code: "queue-full".into(), ticket: None },
            BookingResponse::Lost { why: "no-response".into() },
        ] {
            let json = serde_json::to_string(&response).unwrap();
            assert_eq!(serde_json::from_str::<BookingResponse>(&json).unwrap(), response, "{json}");
        }
    }
}
