//! One booking as it lies in the queue.
//!
//! ```json
//! {"v":1,"kind":"book","ticketId":"…","deadline":"2026-11-22T16:29:22.341Z","idempotencyKey":"…",
//!  "request":{"userName":"…","userEmail":"…","seatIds":[1,2]}}
//! ```
//!
//! Workers are upgraded before the intake, so a worker may meet an older version and must read it. A newer one means that
//! the order was turned round: it is put back for a newer worker.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{BookingRequest, IdempotencyKey, Ticket, TicketId, Timestamp};

const VERSION: u16 = 1;

/// One accepted booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub ticket: Ticket,
    pub idempotency_key: Option<IdempotencyKey>,
    pub request: BookingRequest,
}

/// Why an envelope could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Written by a newer intake. Put it back: a newer worker can read it.
    #[error("the envelope has version {0}, this worker reads up to {VERSION}")]
    Newer(u16),
    /// Nobody can read it. The ticket, if at least that could be read, ends as failed.
    #[error("the envelope cannot be read: {reason}")]
    Unreadable { ticket: Option<TicketId>, reason: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeV1 {
    v: u16,
    kind: Kind,
    ticket_id: TicketId,
    deadline: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<IdempotencyKey>,
    request: BookingRequest,
}

/// The command. There is one so far.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Book,
}

/// What is read of an envelope that cannot, or should not, be read as a whole.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvelopeHeader {
    v: Option<u16>,
    ticket_id: Option<TicketId>,
}

impl EnvelopeHeader {
    pub fn of(raw: &RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }

    /// The envelope's version, if only a newer worker can read that.
    pub fn newer_version(&self) -> Option<u16> {
        self.v.filter(|version| *version > VERSION)
    }

    pub fn ticket(&self) -> Option<TicketId> {
        self.ticket_id
    }
}

impl Envelope {
    /// The envelope's JSON.
    pub fn encode(self) -> Vec<u8> {
        let wire = EnvelopeV1 {
            v: VERSION,
            kind: Kind::Book,
            ticket_id: self.ticket.id,
            deadline: self.ticket.deadline,
            idempotency_key: self.idempotency_key,
            request: self.request,
        };
        serde_json::to_vec(&wire).expect("an envelope has string keys only")
    }

    pub fn decode(raw: &RawValue) -> Result<Self, Undecodable> {
        match serde_json::from_str::<EnvelopeV1>(raw.get()) {
            Ok(wire) if wire.v <= VERSION => Ok(Self {
                ticket: Ticket { id: wire.ticket_id, deadline: wire.deadline },
                idempotency_key: wire.idempotency_key,
                request: wire.request,
            }),
            Ok(wire) => Err(Undecodable::Newer(wire.v)),
            Err(error) => {
                let remains = EnvelopeHeader::of(raw);
                match remains.newer_version() {
                    Some(version) => Err(Undecodable::Newer(version)),
                    None => {
                        Err(Undecodable::Unreadable { ticket: remains.ticket(), reason: error.to_string() })
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{ConcertId, CustomerName, Email, SeatId};

    fn envelope(seats: &[i32]) -> Envelope {
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        Envelope {
            ticket: Ticket { id: TicketId(Uuid::from_u128(7)), deadline: now },
            idempotency_key: Some(IdempotencyKey::new("key").unwrap()),
            request: BookingRequest::new(
                CustomerName::parse("Alice").unwrap(),
                Email::parse("alice@example.com").unwrap(),
                seats.iter().copied().map(SeatId).collect(),
                Some(ConcertId(Uuid::from_u128(9))),
            )
            .unwrap(),
        }
    }

    fn raw(json: impl Into<String>) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    proptest! {
        #[test]
        fn an_envelope_comes_out_as_it_went_in(
            seats in proptest::collection::hash_set(any::<i32>(), 1..20),
            key in proptest::option::of("[ !#-~]{1,255}"),
        ) {
            let mut envelope = envelope(&seats.into_iter().collect::<Vec<_>>());
            envelope.idempotency_key = key.map(|key| IdempotencyKey::new(&key).unwrap());
            let json = String::from_utf8(envelope.clone().encode()).unwrap();
            prop_assert_eq!(Envelope::decode(&raw(json)), Ok(envelope));
        }

        #[test]
        fn any_json_is_read_or_refused(key in "[a-zA-Z]{0,12}", number in any::<i64>(), text in "[^\"\\\\\\p{C}]*") {
            let json = format!(r#"{{"{key}":{number},"v":1,"ticketId":"{text}","request":[]}}"#);
            let refused = matches!(Envelope::decode(&raw(json)), Err(Undecodable::Unreadable { .. }));
            prop_assert!(refused);
        }
    }

    #[test]
    fn a_newer_version_is_put_back_even_if_nothing_else_of_it_is_known() {
        assert_eq!(Envelope::decode(&raw(r#"{"v":2,"kind":"hold"}"#)), Err(Undecodable::Newer(2)));
        let json = String::from_utf8(envelope(&[1]).encode()).unwrap().replace("\"v\":1", "\"v\":2");
        assert_eq!(Envelope::decode(&raw(json)), Err(Undecodable::Newer(2)));
    }

    #[test]
    fn the_ticket_is_saved_from_an_envelope_that_cannot_be_read() {
        let json = String::from_utf8(envelope(&[1]).encode()).unwrap().replace("[1]", "[1,1]");
        let Err(Undecodable::Unreadable { ticket, reason }) = Envelope::decode(&raw(json)) else {
            panic!("was read");
        };
        assert_eq!(ticket, Some(TicketId(Uuid::from_u128(7))));
        assert!(reason.contains("names 1 twice"), "{reason}");
    }
}
