//! How many seats of a concert a customer may still book.

use std::collections::{BTreeSet, HashMap};

use hamro_shared::domain::{ConcertId, CustomerDigest, CustomerDigests, Email, Rejection, SeatId};

use super::{Inventory, PriorDecisions, Seat};
use crate::settlement::batch::BookingCommand;

/// The seats that customers hold in concerts with a limit, including those that this batch sells.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// Whether `alice+friends@…` is the customer `alice@…`.
    pub ignore_tags: bool,
    seats: HashMap<(ConcertId, CustomerDigest), u32>,
}

impl Holdings {
    pub fn of(ignore_tags: bool) -> Self {
        Self { ignore_tags, ..Self::default() }
    }

    /// Adds seats that the customer holds.
    pub fn add(&mut self, concert: ConcertId, customer: CustomerDigests, seats: u32) {
        let held = self.seats.entry((concert, customer.customer(self.ignore_tags))).or_default();
        *held = held.saturating_add(seats);
    }

    fn held_by(&self, concert: ConcertId, customer: CustomerDigests) -> u32 {
        self.seats.get(&(concert, customer.customer(self.ignore_tags))).copied().unwrap_or_default()
    }
}

impl Inventory {
    /// The customers whose holdings [`allocate`](super::allocate) may have to know, each with the concert: those who
    /// request no more than its limit, of seats that can be sold to them now. In the order in which they are locked.
    ///
    /// They are locked by the address without its tag, so that workers exclude each other even while their settings differ.
    pub fn limited_customers(
        &self,
        commands: &[BookingCommand],
        prior: &PriorDecisions,
    ) -> BTreeSet<(ConcertId, CustomerDigest)> {
        let mut customers = BTreeSet::new();
        if self.concerts.values().all(|concert| concert.seats_per_customer.is_none()) {
            return customers;
        }
        for command in commands.iter().filter(|command| !prior.has_decided(command)) {
            let Ok(wanted) = self.find_sellable(&command.request, command.ticket.id.issued_at()) else {
                continue;
            };
            let mut limits = self.limits(&wanted);
            limits.retain(|limit| limit.requested <= limit.seats);
            if !limits.is_empty() {
                let mailbox = CustomerDigests::of(command.request.user_email()).mailbox;
                customers.extend(limits.into_iter().map(|limit| (limit.concert_id, mailbox)));
            }
        }
        customers
    }

    /// Checks that the customer may book these seats too.
    pub(super) fn check_limits(&self, email: &Email, wanted: &[(SeatId, &Seat)]) -> Result<(), Rejection> {
        for Limit { concert_id, seats: limit, requested } in self.limits(wanted) {
            // Nobody has to prove an address. So a request that can never succeed does not tell what the address holds.
            if requested > limit {
                return Err(Rejection::LimitReached { concert_id, limit, held_seats: None });
            }
            let held = self.holdings.held_by(concert_id, CustomerDigests::of(email));
            if held.saturating_add(requested) > limit {
                return Err(Rejection::LimitReached { concert_id, limit, held_seats: Some(held) });
            }
        }
        Ok(())
    }

    /// Counts a seat of this concert that was sold to the customer now, if it has a limit.
    pub(super) fn count_sold(&mut self, email: &Email, concert: ConcertId) {
        if self.limit_of(concert).is_some() {
            self.holdings.add(concert, CustomerDigests::of(email), 1);
        }
    }

    /// The limits that apply to these seats. Without a limit, nothing is allocated.
    fn limits(&self, wanted: &[(SeatId, &Seat)]) -> Vec<Limit> {
        let mut limits: Vec<Limit> = Vec::new();
        for (_, Seat { concert_id, .. }) in wanted {
            let Some(seats) = self.limit_of(*concert_id) else { continue };
            match limits.iter_mut().find(|limit| limit.concert_id == *concert_id) {
                Some(limit) => limit.requested += 1,
                None => limits.push(Limit { concert_id: *concert_id, seats, requested: 1 }),
            }
        }
        limits
    }

    fn limit_of(&self, concert: ConcertId) -> Option<u32> {
        self.concerts.get(&concert)?.seats_per_customer
    }
}

/// The limit of a concert, and how many of its seats a booking requests.
struct Limit {
    concert_id: ConcertId,
    seats: u32,
    requested: u32,
}

#[cfg(test)]
mod tests;
