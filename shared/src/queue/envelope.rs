//! One booking, as it is stored in the queue.
//!
//! ```json
//! {"v":1,"kind":"book","ticketId":"…","deadline":"2026-11-22T16:29:22.341Z","idempotencyKey":"…",
//!  "request":{"userName":"…","userEmail":"…","seatIds":[1,2]}}
//! ```
//!
//! Workers are upgraded before the api, so a worker must read older versions. If the order is reversed, a worker
//! requeues an envelope of a newer version for a newer worker.
//!
//! If the booking's trace is exported, `traceparent` names the span that published it. Otherwise the field is missing: it
//! takes no bytes. It changes no decision, so the version stays the same, and earlier workers ignore it.
//!
//! A request with an `expectedTotal` has version 2: a worker that does not know the field would sell at any price, so it must not
//! decode the envelope. All others have version 1, which every worker can read.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{BookingRequest, IdempotencyKey, Ticket, TicketId, Timestamp};
use crate::telemetry::traces::{TraceContext, deserialize_lenient};

/// The newest version that this program can read.
pub const ENVELOPE_VERSION: u16 = 2;

/// The version of bookings without any of the fields below.
const PLAIN: u16 = 1;
/// The version of bookings with an `expectedTotal`.
const WITH_EXPECTED_TOTAL: u16 = 2;

/// One accepted booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub ticket: Ticket,
    pub idempotency_key: Option<IdempotencyKey>,
    pub request: BookingRequest,
    /// The span that published the booking, if its trace is exported.
    pub trace: Option<TraceContext>,
}

/// Why an envelope could not be decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Written by a newer api. Requeue it: a newer worker can read it.
    #[error("envelope version {0} is not supported (supported: up to {ENVELOPE_VERSION})")]
    Newer(u16),
    /// No version can read it. The ticket fails, if its id could be read.
    #[error("invalid envelope: {reason}")]
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
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "deserialize_lenient")]
    traceparent: Option<TraceContext>,
}

/// The command. So far there is only one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Book,
}

/// The fields that are read from an envelope that cannot, or should not, be decoded completely.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvelopeHeader {
    v: Option<u16>,
    ticket_id: Option<TicketId>,
    #[serde(deserialize_with = "deserialize_lenient")]
    traceparent: Option<TraceContext>,
}

/// The version that a worker must be able to read to settle the request: the oldest that does not ignore any of its fields.
pub fn version_for(request: &BookingRequest) -> u16 {
    if request.expected_total().is_some() { WITH_EXPECTED_TOTAL } else { PLAIN }
}

impl EnvelopeHeader {
    pub fn of(raw: &RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }

    /// The envelope's version, if only a newer worker can read it.
    pub fn newer_version(&self) -> Option<u16> {
        self.v.filter(|version| *version > ENVELOPE_VERSION)
    }

    pub fn ticket(&self) -> Option<TicketId> {
        self.ticket_id
    }

    /// The span that published the booking, if its trace is exported.
    pub fn trace(&self) -> Option<TraceContext> {
        self.traceparent
    }
}

impl Envelope {
    pub fn encode(self) -> Vec<u8> {
        let wire = EnvelopeV1 {
            v: version_for(&self.request),
            kind: Kind::Book,
            ticket_id: self.ticket.id,
            deadline: self.ticket.deadline,
            idempotency_key: self.idempotency_key,
            request: self.request,
            traceparent: self.trace,
        };
        serde_json::to_vec(&wire).expect("an envelope has string keys only")
    }

    pub fn decode(raw: &RawValue) -> Result<Self, Undecodable> {
        match serde_json::from_str::<EnvelopeV1>(raw.get()) {
            Ok(wire) if wire.v <= ENVELOPE_VERSION => Ok(Self {
                ticket: Ticket { id: wire.ticket_id, deadline: wire.deadline },
                idempotency_key: wire.idempotency_key,
                request: wire.request,
                trace: wire.traceparent,
            }),
            Ok(wire) => Err(Undecodable::Newer(wire.v)),
            Err(error) => {
                let header = EnvelopeHeader::of(raw);
                match header.newer_version() {
                    Some(version) => Err(Undecodable::Newer(version)),
                    None => {
                        Err(Undecodable::Unreadable { ticket: header.ticket(), reason: error.to_string() })
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
    use crate::domain::{Amount, ConcertId, CustomerName, Email, SeatId};

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
            trace: None,
        }
    }

    fn raw(json: impl Into<String>) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    proptest! {
        #[test]
        fn a_decoded_envelope_equals_the_encoded_one(
            seats in proptest::collection::hash_set(any::<i32>(), 1..20),
            key in proptest::option::of("[ !#-~]{1,255}"),
            hundredths in proptest::option::of(0..9_999_999_999_999_999_u64),
        ) {
            let mut envelope = envelope(&seats.into_iter().collect::<Vec<_>>());
            let total = hundredths.map(|total| format!("{}.{:02}", total / 100, total % 100));
            envelope.request = envelope.request.expecting(total.map(|total| Amount::parse(&total).unwrap()));
            envelope.idempotency_key = key.map(|key| IdempotencyKey::new(&key).unwrap());
            let json = String::from_utf8(envelope.clone().encode()).unwrap();
            prop_assert_eq!(Envelope::decode(&raw(json)), Ok(envelope));
        }

        #[test]
        fn an_invalid_envelope_is_reported_as_unreadable(key in "[a-zA-Z]{0,12}", number in any::<i64>(), text in "[^\"\\\\\\p{C}]*") {
            let json = format!(r#"{{"{key}":{number},"v":1,"ticketId":"{text}","request":[]}}"#);
            let is_unreadable = matches!(Envelope::decode(&raw(json)), Err(Undecodable::Unreadable { .. }));
            prop_assert!(is_unreadable);
        }
    }

    #[test]
    fn a_newer_version_is_recognized_even_if_its_other_fields_are_unknown() {
        assert_eq!(Envelope::decode(&raw(r#"{"v":3,"kind":"hold"}"#)), Err(Undecodable::Newer(3)));
        let json = String::from_utf8(envelope(&[1]).encode()).unwrap().replace("\"v\":1", "\"v\":3");
        assert_eq!(Envelope::decode(&raw(json)), Err(Undecodable::Newer(3)));
    }

    #[test]
    fn only_a_booking_with_an_expected_total_has_a_version_that_earlier_workers_cannot_read() {
        let plain = envelope(&[1]);
        let expecting = Envelope {
            request: plain.request.clone().expecting(Some(Amount::parse("20.00").unwrap())),
            ..envelope(&[1])
        };
        for (envelope, version, has_total) in [(plain, 1, false), (expecting, 2, true)] {
            assert_eq!(version_for(&envelope.request), version);
            let json: serde_json::Value = serde_json::from_slice(&envelope.encode()).unwrap();
            assert_eq!(json["v"], version);
            assert_eq!(json["request"].get("expectedTotal").is_some(), has_total);
        }
    }

    #[test]
    fn a_booking_whose_trace_is_not_exported_carries_no_bytes_of_it() {
        assert!(!String::from_utf8(envelope(&[1]).encode()).unwrap().contains("trace"));
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let text = String::from_utf8(envelope(&[1]).encode()).unwrap();
        let with = |value: &str| text.replacen('{', &format!("{{\"traceparent\":{value},"), 1);
        let traced = Envelope::decode(&raw(with(&format!("\"{traceparent}\"")))).unwrap();
        assert_eq!(traced.trace.unwrap().to_string(), traceparent);
        assert!(String::from_utf8(traced.encode()).unwrap().contains(traceparent));
    }

    #[test]
    fn no_booking_is_unreadable_because_of_its_trace() {
        let text = String::from_utf8(envelope(&[1]).encode()).unwrap();
        let not_sampled = "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\"";
        for value in ["null", "7", "\"\"", "\"no trace\"", "{\"a\":[1]}", "[]", not_sampled] {
            let text = text.replacen('{', &format!("{{\"traceparent\":{value},"), 1);
            assert_eq!(Envelope::decode(&raw(text)), Ok(envelope(&[1])), "{value}");
        }
    }

    #[test]
    fn the_ticket_is_read_from_an_otherwise_unreadable_envelope() {
        let json = String::from_utf8(envelope(&[1]).encode()).unwrap().replace("[1]", "[1,1]");
        let Err(Undecodable::Unreadable { ticket, reason }) = Envelope::decode(&raw(json)) else {
            panic!("an invalid envelope was decoded");
        };
        assert_eq!(ticket, Some(TicketId(Uuid::from_u128(7))));
        assert!(reason.contains("names 1 twice"), "{reason}");
    }
}
