//! What a worker announces after a commit: a hint that fills caches and wakes who waits. The database is the truth,
//! so losing one costs a moment and never a result.
//!
//! All instances hear of all that is settled, and each is asked for its share of it. So an instance leaves an outcome as it
//! was written until somebody wants it, and for the seat maps that are watched it reads no more than they need. To read them all took a tenth of its processor time in a flood.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{ConcertId, SeatId, SettledTicket, TicketId, Timestamp};

/// One settled batch, as a worker writes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledEvent {
    pub tickets: Vec<SettledTicket>,
    /// How many bookings of the intake queue were in the batch, those that had been settled before not left out.
    pub bookings: u32,
    /// How many of that queue's messages they came in. Nothing of it is in what the reaper settles.
    pub parcels: u32,
}

/// The same, as an instance reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSettledEvent {
    pub tickets: Vec<RawSettledTicket>,
    pub bookings: u32,
    pub parcels: u32,
}

/// A settled ticket, whose outcome has not been read yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSettledTicket {
    pub ticket_id: TicketId,
    pub settled_at: Timestamp,
    outcome: Box<RawValue>,
}

/// What was sold under a ticket: some of the seats may be of one of the concerts, and some of another.
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
    /// Reads the message. A ticket that cannot be read is left out, and costs the others nothing.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        // In one pass where all can be read, as is the rule.
        serde_json::from_slice(body).or_else(|_| Self::decode_one_by_one(body))
    }

    fn decode_one_by_one(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            tickets: Vec<&'a RawValue>,
            bookings: u32,
            parcels: u32,
        }
        let Message { tickets, bookings, parcels } = serde_json::from_slice(body)?;
        let tickets = tickets.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
        Ok(Self { tickets, bookings, parcels })
    }
}

impl RawSettledTicket {
    /// Reads the outcome. It is JSON in any case; an error if it is an outcome that only a newer version knows.
    pub fn decode(&self) -> Result<SettledTicket, serde_json::Error> {
        let outcome = serde_json::from_str(self.outcome.get())?;
        Ok(SettledTicket { ticket_id: self.ticket_id, settled_at: self.settled_at, outcome })
    }

    /// Reads of the outcome what was sold, if anything was.
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
    use crate::domain::{Booking, CustomerName, Email, Outcome, Price, Rejection, SoldSeat, TierId};

    fn booking() -> Booking {
        let at = Timestamp::from_unix_millis(1).unwrap();
        let (name, email) =
            (CustomerName::parse("Alice").unwrap(), Email::parse("alice@example.com").unwrap());
        let seats = [7, 8].map(|id| SoldSeat {
            id: SeatId(id),
            number: format!("A-{id}"),
            concert_id: ConcertId(Uuid::from_u128(9)),
            tier_id: TierId(1),
            price: Price::try_from("50.00".to_owned()).unwrap(),
        });
        Booking::of_sale(3, name, email, at, seats.into())
    }

    fn heard(outcomes: &[Outcome]) -> (Vec<SettledTicket>, RawSettledEvent) {
        let ticket = |outcome: &Outcome| SettledTicket {
            ticket_id: TicketId(Uuid::from_u128(1)),
            settled_at: Timestamp::from_unix_millis(1).unwrap(),
            outcome: outcome.clone(),
        };
        let written: Vec<SettledTicket> = outcomes.iter().map(ticket).collect();
        let message = SettledEvent { tickets: written.clone(), bookings: 3, parcels: 2 };
        (written, RawSettledEvent::decode(&message.encode()).unwrap())
    }

    #[test]
    fn an_instance_reads_what_a_worker_has_written() {
        let rejection = Rejection::SeatsTaken { seat_ids: vec![SeatId(7)] };
        let (written, heard) = heard(&[
            Outcome::Confirmed { booking: booking() },
            Outcome::Rejected { rejection },
            Outcome::Expired,
            Outcome::Failed,
        ]);
        assert_eq!((heard.bookings, heard.parcels), (3, 2));
        let read: Vec<SettledTicket> = heard.tickets.iter().map(|ticket| ticket.decode().unwrap()).collect();
        assert_eq!(read, written);
    }

    #[test]
    fn what_was_sold_is_read_alone() {
        let (_, heard) = heard(&[Outcome::Confirmed { booking: booking() }, Outcome::Expired]);
        let sold: Vec<Option<SoldSeats>> =
            heard.tickets.iter().map(|ticket| ticket.sold().unwrap()).collect();
        let concerts = vec![ConcertId(Uuid::from_u128(9))];
        assert_eq!(sold, [Some(SoldSeats { concerts, seats: vec![SeatId(7), SeatId(8)] }), None]);
    }

    #[test]
    fn a_ticket_that_cannot_be_read_does_not_spoil_its_message() {
        let (written, _) = heard(&[Outcome::Expired, Outcome::Failed]);
        let message = SettledEvent { tickets: written.clone(), bookings: 3, parcels: 2 };
        let text = String::from_utf8(message.encode()).unwrap();
        for odd in [r#"{"ticketId":7},"#, "null,", r#"{"ticketId":"no id","settledAt":"","outcome":0},"#] {
            let text = text.replacen("{\"ticketId\"", &format!("{odd}{{\"ticketId\""), 1);
            let heard = RawSettledEvent::decode(text.as_bytes()).unwrap();
            let read: Vec<_> = heard.tickets.iter().map(|ticket| ticket.decode().unwrap()).collect();
            assert_eq!((read, heard.bookings, heard.parcels), (written.clone(), 3, 2), "{odd}");
        }
        assert!(RawSettledEvent::decode(b"{}").is_err());
    }

    #[test]
    fn an_announced_customer_that_was_erased_is_read_with_the_placeholder() {
        let (_, heard) = heard(&[Outcome::Confirmed { booking: booking() }]);
        let json = serde_json::to_value(heard.tickets[0].decode().unwrap().outcome).unwrap();
        for gone in [serde_json::json!(""), serde_json::Value::Null] {
            let mut json = json.clone();
            json["booking"]["userName"] = gone;
            json["booking"].as_object_mut().unwrap().remove("userEmail");
            let Outcome::Confirmed { booking } = serde_json::from_value(json).unwrap() else { panic!() };
            assert_eq!((booking.user_name, booking.user_email), (CustomerName::erased(), Email::erased()));
        }
    }

    #[test]
    fn an_outcome_that_is_none_is_not_read_as_one() {
        for outcome in
            [r#"{"status":"confirmed"}"#, r#"{"status":"rejected"}"#, r#"{"status":"refunded"}"#, "{}"]
        {
            assert!(serde_json::from_str::<Outcome>(outcome).is_err(), "{outcome}");
        }
    }
}
