//! What a worker announces after a commit: a hint that fills caches and wakes who waits. The database is the truth,
//! so losing one costs a moment and never a result.
//!
//! All instances hear of all that is settled, and each is asked for its share of it. So an instance leaves an outcome as it
//! was written until somebody wants it. To read them all took a tenth of its processor time in a flood.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{SettledTicket, TicketId, Timestamp};

/// One settled batch, as a worker writes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledMessage {
    pub tickets: Vec<SettledTicket>,
    /// How many bookings of the intake queue were in the batch, those that had been settled before not left out.
    pub bookings: u32,
    /// How many of that queue's messages they came in. Nothing of it is in what the reaper settles.
    pub parcels: u32,
}

/// The same, as an instance reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeardMessage {
    pub tickets: Vec<HeardTicket>,
    pub bookings: u32,
    pub parcels: u32,
}

/// A settled ticket, whose outcome has not been read yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeardTicket {
    pub ticket_id: TicketId,
    pub settled_at: Timestamp,
    outcome: Box<RawValue>,
}

impl SettledMessage {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an outcome has string keys only")
    }
}

impl HeardMessage {
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

impl HeardTicket {
    /// Reads the outcome. It is JSON in any case; an error if it is an outcome that only a newer version knows.
    pub fn decode(&self) -> Result<SettledTicket, serde_json::Error> {
        let outcome = serde_json::from_str(self.outcome.get())?;
        Ok(SettledTicket { ticket_id: self.ticket_id, settled_at: self.settled_at, outcome })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Outcome, Rejection, SeatId};

    #[test]
    fn an_instance_reads_what_a_worker_has_written() {
        let rejection = Rejection::SeatsTaken { seat_ids: vec![SeatId(7)] };
        let written = [Outcome::Rejected { rejection }, Outcome::Expired].map(|outcome| SettledTicket {
            ticket_id: TicketId(Uuid::from_u128(1)),
            settled_at: Timestamp::from_unix_millis(1).unwrap(),
            outcome,
        });
        let message = SettledMessage { tickets: written.to_vec(), bookings: 3, parcels: 2 };
        let heard = HeardMessage::decode(&message.encode()).unwrap();
        assert_eq!((heard.bookings, heard.parcels), (3, 2));
        let read: Vec<SettledTicket> = heard.tickets.iter().map(|ticket| ticket.decode().unwrap()).collect();
        assert_eq!(read, written);
    }
}
