//! The announcement: the message that a worker publishes after a commit. It fills caches and wakes waiting requests.
//! The database stays authoritative, so a lost announcement delays an outcome and never loses it.
//!
//! Every instance receives the outcomes of all tickets, but clients request only a share of them from each instance. An
//! instance therefore decodes an outcome only when a client needs it, and for watched seat maps it decodes only the
//! fields that they need. Decoding all outcomes took a tenth of its CPU time under peak load.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{ConcertId, SeatId, SettledTicket, TicketId, Timestamp};

/// The announcement of one settled batch, as a worker encodes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledEvent {
    pub tickets: Vec<SettledTicket>,
    /// The number of bookings from the intake queue in the batch, including those that had been settled before.
    pub bookings: u32,
    /// The number of messages from the intake queue in the batch. Both numbers are 0 if the poison isolator settled it.
    pub parcels: u32,
}

/// The announcement of one settled batch, as an instance decodes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSettledEvent {
    pub tickets: Vec<RawSettledTicket>,
    pub bookings: u32,
    pub parcels: u32,
}

/// A settled ticket whose outcome has not been decoded yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSettledTicket {
    pub ticket_id: TicketId,
    pub settled_at: Timestamp,
    outcome: Box<RawValue>,
}

/// The seats sold under a ticket, and their concerts. The seats may belong to several concerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldSeats {
    pub concerts: Vec<ConcertId>,
    pub seats: Vec<SeatId>,
}

impl SettledEvent {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an outcome has string keys only")
    }
}

impl RawSettledEvent {
    /// Decodes an announcement. A ticket that cannot be decoded is skipped.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        // One pass is enough unless a ticket cannot be decoded.
        serde_json::from_slice(body).or_else(|_| Self::decode_one_by_one(body))
    }

    fn decode_one_by_one(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Announcement<'a> {
            #[serde(borrow)]
            tickets: Vec<&'a RawValue>,
            bookings: u32,
            parcels: u32,
        }
        let Announcement { tickets, bookings, parcels } = serde_json::from_slice(body)?;
        let tickets = tickets.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
        Ok(Self { tickets, bookings, parcels })
    }
}

impl RawSettledTicket {
    /// Decodes the outcome. It is valid JSON; an error means that only a newer version knows this outcome.
    pub fn decode(&self) -> Result<SettledTicket, serde_json::Error> {
        let outcome = serde_json::from_str(self.outcome.get())?;
        Ok(SettledTicket { ticket_id: self.ticket_id, settled_at: self.settled_at, outcome })
    }

    /// Decodes only what was sold. `None` if nothing was.
    pub fn sold(&self) -> Result<Option<SoldSeats>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Outcome {
            booking: Option<Booking>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Booking {
            ticket_data: Vec<Line>,
            seat_ids: Vec<SeatId>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Line {
            concert_id: ConcertId,
        }
        let outcome: Outcome = serde_json::from_str(self.outcome.get())?;
        Ok(outcome.booking.map(|booking| SoldSeats {
            concerts: booking.ticket_data.iter().map(|line| line.concert_id).collect(),
            seats: booking.seat_ids,
        }))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        Booking, CustomerName, Email, Outcome, Price, Rejection, SeatLabel, SoldSeat, TierId,
    };

    fn label(id: i32) -> SeatLabel {
        SeatLabel { id: SeatId(id), section: "front".to_owned(), row: 2, seat_number: format!("A-{id}") }
    }

    fn booking() -> Booking {
        let at = Timestamp::from_unix_millis(1).unwrap();
        let (name, email) =
            (CustomerName::parse("Alice").unwrap(), Email::parse("alice@example.com").unwrap());
        let seats = [7, 8].map(|id| SoldSeat {
            label: label(id),
            concert_id: ConcertId(Uuid::from_u128(9)),
            tier_id: TierId(1),
            price: Price::try_from("50.00".to_owned()).unwrap(),
        });
        Booking::of_sale(3, name, email, at, seats.into())
    }

    fn announce(outcomes: &[Outcome]) -> (Vec<SettledTicket>, RawSettledEvent) {
        let ticket = |outcome: &Outcome| SettledTicket {
            ticket_id: TicketId(Uuid::from_u128(1)),
            settled_at: Timestamp::from_unix_millis(1).unwrap(),
            outcome: outcome.clone(),
        };
        let sent: Vec<SettledTicket> = outcomes.iter().map(ticket).collect();
        let announcement = SettledEvent { tickets: sent.clone(), bookings: 3, parcels: 2 };
        (sent, RawSettledEvent::decode(&announcement.encode()).unwrap())
    }

    #[test]
    fn a_decoded_announcement_equals_the_encoded_one() {
        let rejection = Rejection::SeatsTaken { seat_ids: vec![SeatId(7)], seats: vec![label(7)] };
        let (sent, received) = announce(&[
            Outcome::Confirmed { booking: booking() },
            Outcome::Rejected { rejection },
            Outcome::Expired,
            Outcome::Failed,
        ]);
        assert_eq!((received.bookings, received.parcels), (3, 2));
        let decoded: Vec<SettledTicket> =
            received.tickets.iter().map(|ticket| ticket.decode().unwrap()).collect();
        assert_eq!(decoded, sent);
    }

    #[test]
    fn sold_seats_are_decoded_without_the_rest_of_the_outcome() {
        let (_, received) = announce(&[Outcome::Confirmed { booking: booking() }, Outcome::Expired]);
        let sold: Vec<Option<SoldSeats>> =
            received.tickets.iter().map(|ticket| ticket.sold().unwrap()).collect();
        let concerts = vec![ConcertId(Uuid::from_u128(9))];
        assert_eq!(sold, [Some(SoldSeats { concerts, seats: vec![SeatId(7), SeatId(8)] }), None]);
    }

    #[test]
    fn a_ticket_that_cannot_be_decoded_does_not_affect_the_rest_of_the_announcement() {
        let (sent, _) = announce(&[Outcome::Expired, Outcome::Failed]);
        let announcement = SettledEvent { tickets: sent.clone(), bookings: 3, parcels: 2 };
        let text = String::from_utf8(announcement.encode()).unwrap();
        for invalid in [r#"{"ticketId":7},"#, "null,", r#"{"ticketId":"no id","settledAt":"","outcome":0},"#]
        {
            let text = text.replacen("{\"ticketId\"", &format!("{invalid}{{\"ticketId\""), 1);
            let received = RawSettledEvent::decode(text.as_bytes()).unwrap();
            let decoded: Vec<_> = received.tickets.iter().map(|ticket| ticket.decode().unwrap()).collect();
            assert_eq!((decoded, received.bookings, received.parcels), (sent.clone(), 3, 2), "{invalid}");
        }
        assert!(RawSettledEvent::decode(b"{}").is_err());
    }

    #[test]
    fn an_erased_customer_is_decoded_as_the_placeholder() {
        let (_, received) = announce(&[Outcome::Confirmed { booking: booking() }]);
        let json = serde_json::to_value(received.tickets[0].decode().unwrap().outcome).unwrap();
        for erased in [serde_json::json!(""), serde_json::Value::Null] {
            let mut json = json.clone();
            json["booking"]["userName"] = erased;
            json["booking"].as_object_mut().unwrap().remove("userEmail");
            let Outcome::Confirmed { booking } = serde_json::from_value(json).unwrap() else { panic!() };
            assert_eq!((booking.user_name, booking.user_email), (CustomerName::erased(), Email::erased()));
        }
    }

    #[test]
    fn an_incomplete_or_unknown_outcome_is_not_decoded() {
        for outcome in
            [r#"{"status":"confirmed"}"#, r#"{"status":"rejected"}"#, r#"{"status":"refunded"}"#, "{}"]
        {
            assert!(serde_json::from_str::<Outcome>(outcome).is_err(), "{outcome}");
        }
    }
}
