//! What the clients book.

use std::sync::atomic::Ordering;

use anyhow::Result;
use futures_util::future::try_join_all;
use hamro_shared::queue::Envelope;
use hamro_verification::contract::{BookingIntent, email};

use super::{ClientBehaviour, SimulatedClients};
use crate::deployment::envelope;

const BEHAVIOURS: [ClientBehaviour; 9] = [
    ClientBehaviour::Poll,
    ClientBehaviour::DoNotFollow,
    ClientBehaviour::Subscribe,
    ClientBehaviour::Wait,
    ClientBehaviour::DoNotFollow,
    ClientBehaviour::SendTwice,
    ClientBehaviour::LongPoll,
    ClientBehaviour::Disconnect,
    ClientBehaviour::DoNotFollow,
];

impl SimulatedClients {
    pub(super) async fn run_next_intent(&self) -> Result<()> {
        let number = self.intents.fetch_add(1, Ordering::Relaxed);
        let (intent, behaviour) = self.intent(number);
        self.run_intent(&intent, behaviour).await
    }

    /// Starts this many additional clients at once, with one booking each.
    pub async fn burst(&self, clients: u64) -> Result<()> {
        try_join_all((0..clients).map(|_| self.run_next_intent())).await.map(drop)
    }

    /// The number of bookings started.
    pub fn intents(&self) -> u64 {
        self.intents.load(Ordering::Relaxed)
    }

    /// A seat that the first clients have requested.
    pub fn first_seat(&self) -> i32 {
        self.seats[0]
    }

    /// A booking of a seat that no client requests otherwise, with an idempotency key: the last seat, then the one before it, and
    /// so on.
    pub fn intent_for_free_seat(&self) -> BookingIntent {
        let taken = self.free_seats_taken.fetch_add(1, Ordering::Relaxed);
        let seat = self.seats[self.seats.len() - 1 - taken % self.seats.len()];
        self.intent_for(seat)
    }

    /// A booking of this seat by another buyer, with an idempotency key.
    pub fn intent_for(&self, seat: i32) -> BookingIntent {
        let buyer = self.intents.fetch_add(1, Ordering::Relaxed);
        BookingIntent { buyer, seats: [seat].into(), key: Some(0) }
    }

    /// A booking of the first seat by another buyer, with an idempotency key.
    pub fn intent_for_first_seat(&self) -> BookingIntent {
        let buyer = self.intents.fetch_add(1, Ordering::Relaxed);
        BookingIntent { buyer, seats: [self.first_seat()].into(), key: Some(0) }
    }

    /// The message of a booking without a key, as the api would publish it. Records the booking as accepted.
    pub fn publishable(&self, intent: BookingIntent) -> Result<Envelope> {
        let intent = BookingIntent { key: None, ..intent };
        let address = email(&self.recorded.run, intent.buyer);
        let customer = address.strip_suffix("@example.com").unwrap_or(&address);
        let seats: Vec<i64> = intent.seats.iter().copied().map(i64::from).collect();
        let envelope = envelope(customer, &seats)?;
        self.record_published(intent, envelope.ticket.id.0);
        Ok(envelope)
    }

    /// The booking with this number. Consecutive bookings request some of the same seats in opposite order, and about
    /// half of them can succeed.
    fn intent(&self, number: u64) -> (BookingIntent, ClientBehaviour) {
        let n = usize::try_from(number).unwrap_or_default();
        let mut seats: Vec<i32> =
            (2 * n..).take(1 + n % 4).map(|seat| self.seats[seat % self.seats.len()]).collect();
        if n % 2 == 1 {
            seats.reverse();
        }
        // One in ten has no key.
        let key = (n % 10 != 1).then_some(0);
        (BookingIntent { buyer: number, seats: seats.into(), key }, BEHAVIOURS[n % BEHAVIOURS.len()])
    }
}
