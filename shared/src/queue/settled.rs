//! The announcement: the message that a worker publishes after a commit. It fills caches and wakes waiting requests. An api
//! instance publishes one after it has released seats.
//! The database stays authoritative, so a lost announcement delays an outcome and never loses it.
//!
//! Every instance receives the outcomes of all tickets, but clients request only a share of them from each instance. An
//! instance therefore decodes an outcome only when a client needs it, and for watched seat maps it decodes only the
//! fields that they need. Decoding all outcomes took a tenth of its CPU time under peak load.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::announced_sales::AnnouncedSales;
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
    /// What was sold, one for each transaction of the batch that has sold something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sales: Vec<AnnouncedSales>,
}

/// Seats that were released. Instances of earlier versions see an announcement of nothing: they read the outcomes again
/// within a minute, and the seats once they differ from the counters of their tiers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The new outcomes of the booking's tickets.
    pub tickets: Vec<SettledTicket>,
    /// The seats that became free, unless somebody has released them before.
    pub seats: Vec<FreedSeat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreedSeat {
    pub concert_id: ConcertId,
    pub seat_id: SeatId,
}

/// The announcement of one settled batch or of releases, as an instance decodes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSettledEvent {
    pub tickets: Vec<RawSettledTicket>,
    pub bookings: u32,
    pub parcels: u32,
    #[serde(default)]
    pub releases: Vec<Release>,
    /// Empty if a worker of an earlier version has announced the batch.
    #[serde(default)]
    pub sales: Vec<AnnouncedSales>,
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

impl Release {
    /// The announcement of the release. It settles no booking.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Announcement<'a> {
            tickets: [(); 0],
            bookings: u32,
            parcels: u32,
            releases: [&'a Release; 1],
        }
        let announcement = Announcement { tickets: [], bookings: 0, parcels: 0, releases: [self] };
        serde_json::to_vec(&announcement).expect("an outcome has string keys only")
    }
}

impl RawSettledEvent {
    /// Decodes an announcement. A ticket, a release or the sales of a transaction that cannot be decoded are skipped.
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
            #[serde(borrow, default)]
            releases: Vec<&'a RawValue>,
            #[serde(borrow, default)]
            sales: Vec<&'a RawValue>,
        }
        fn readable<T: for<'a> Deserialize<'a>>(values: Vec<&RawValue>) -> Vec<T> {
            values.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect()
        }
        let Announcement { tickets, bookings, parcels, releases, sales } = serde_json::from_slice(body)?;
        let (tickets, releases, sales) = (readable(tickets), readable(releases), readable(sales));
        Ok(Self { tickets, bookings, parcels, releases, sales })
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
            /// Not empty if the ticket is a retry of a booking whose seats were released.
            #[serde(default)]
            released_seat_ids: Vec<SeatId>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Line {
            concert_id: ConcertId,
        }
        let outcome: Outcome = serde_json::from_str(self.outcome.get())?;
        Ok(outcome.booking.map(|booking| SoldSeats {
            concerts: booking.ticket_data.iter().map(|line| line.concert_id).collect(),
            seats: {
                let mut seats = booking.seat_ids;
                seats.retain(|seat| !booking.released_seat_ids.contains(seat));
                seats
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        Booking, CustomerName, Email, IdempotencyDigest, KeyDigest, Outcome, Price, Rejection, SaleKey,
        SeatLabel, SoldSeat, TierId,
    };
    use crate::epoch::History;
    use crate::queue::AnnouncedConcert;

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
        let announcement = SettledEvent { tickets: sent.clone(), bookings: 3, parcels: 2, sales: vec![] };
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
    fn released_seats_are_not_sold() {
        let booking = booking().with_released(vec![SeatId(7)]);
        let (_, received) = announce(&[Outcome::Confirmed { booking }]);
        assert_eq!(received.tickets[0].sold().unwrap().unwrap().seats, [SeatId(8)]);
    }

    #[test]
    fn a_release_is_decoded_and_settles_nothing() {
        let (tickets, _) =
            announce(&[Outcome::Confirmed { booking: booking().with_released(vec![SeatId(7)]) }]);
        let seats = vec![FreedSeat { concert_id: ConcertId(Uuid::from_u128(9)), seat_id: SeatId(7) }];
        let release = Release { tickets, seats };
        let received = RawSettledEvent::decode(&release.encode()).unwrap();
        assert_eq!((received.tickets.len(), received.bookings, received.parcels), (0, 0, 0));
        assert_eq!(received.releases, std::slice::from_ref(&release));
        // One that a newer version has written in another form is skipped.
        let text = String::from_utf8(release.encode()).unwrap();
        let text = text.replacen("\"releases\":[", "\"releases\":[{\"tickets\":7},", 1);
        assert_eq!(RawSettledEvent::decode(text.as_bytes()).unwrap().releases, [release]);
    }

    fn sales(digest_version: u8) -> AnnouncedSales {
        let seats = vec![(SeatId(7), Some(KeyDigest(u64::MAX))), (SeatId(8), None)];
        let concert =
            AnnouncedConcert { concert_id: ConcertId(Uuid::from_u128(9)), freed_version: i64::MAX, seats };
        let history = History { epoch: Uuid::from_u128(10), timeline: 3 };
        AnnouncedSales { history, digest_version, concerts: vec![concert] }
    }

    fn announcement_of(sales: &[AnnouncedSales]) -> String {
        let announcement = SettledEvent { tickets: vec![], bookings: 3, parcels: 2, sales: sales.to_vec() };
        String::from_utf8(announcement.encode()).unwrap()
    }

    #[test]
    fn announced_sales_are_decoded_and_unreadable_ones_are_skipped() {
        let sent = [sales(1), sales(2)];
        let text = announcement_of(&sent);
        assert_eq!(RawSettledEvent::decode(text.as_bytes()).unwrap().sales, sent);
        let later = text.replacen("\"sales\":[", "\"sales\":[{\"epoch\":7},", 1);
        let received = RawSettledEvent::decode(later.as_bytes()).unwrap();
        assert_eq!((received.sales.as_slice(), received.bookings), (sent.as_slice(), 3));
    }

    #[test]
    fn an_announced_digest_of_another_version_may_be_of_any_key() {
        let known = sales(IdempotencyDigest::VERSION);
        assert_eq!(known.key(Some(KeyDigest(7))), SaleKey::Digest(KeyDigest(7)));
        assert_eq!(known.key(None), SaleKey::None);
        let later = sales(IdempotencyDigest::VERSION + 1);
        assert_eq!(later.key(Some(KeyDigest(7))), SaleKey::Unknown);
        assert_eq!(later.key(None), SaleKey::None);
    }

    /// The documented sizes.
    #[test]
    fn an_announced_seat_takes_at_most_31_bytes() {
        let mut more = sales(1);
        more.concerts[0].seats.push((SeatId(2_000_000), Some(KeyDigest(u64::MAX))));
        let added = announcement_of(&[more]).len() - announcement_of(&[sales(1)]).len();
        assert!(added <= 31, "{added} bytes");
        let empty = AnnouncedSales { concerts: vec![], ..sales(1) };
        let of_transaction = announcement_of(&[empty]).len() - announcement_of(&[]).len();
        assert!(of_transaction < 120, "{of_transaction} bytes");
    }

    #[test]
    fn a_ticket_that_cannot_be_decoded_does_not_affect_the_rest_of_the_announcement() {
        let (sent, _) = announce(&[Outcome::Expired, Outcome::Failed]);
        let announcement = SettledEvent { tickets: sent.clone(), bookings: 3, parcels: 2, sales: vec![] };
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
