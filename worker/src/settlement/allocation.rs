//! Who gets which seats: a pure function of the locked seats and the requests.
//!
//! Bookings are decided in the order of arrival. Each gets all of its seats or none. A booking is rejected for the first reason
//! that applies: its seats do not exist, are not on sale, or are taken, cost another total than its customer has agreed to, or
//! its customer would exceed the [`limit`].

mod limit;

use std::collections::{HashMap, HashSet};

use hamro_shared::domain::{
    Amount, BookingRequest, ConcertId, Email, IdempotencyDigest, Price, Rejection, RequestHash, SeatId,
    SeatLabel, SoldSeat, TicketId, TierId, Timestamp,
};

pub use self::limit::Holdings;
use super::batch::BookingCommand;

/// What can be sold: the seats that this transaction has locked, their prices, and their concerts and those that the
/// bookings name.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub seats: HashMap<SeatId, Seat>,
    pub prices: HashMap<TierId, Price>,
    pub concerts: HashMap<ConcertId, Concert>,
    /// Those of the concerts that are reserved for one customer: for all others, they do not exist.
    pub reserved: HashMap<ConcertId, Email>,
    /// Seats that exist and that another session has locked: their state is unknown.
    pub held: HashSet<SeatId>,
    /// What the [limited customers](Self::limited_customers) hold.
    pub holdings: Holdings,
}

#[derive(Clone, Debug)]
pub struct Seat {
    pub concert_id: ConcertId,
    pub tier_id: TierId,
    pub section: String,
    pub row: i32,
    pub number: String,
    pub is_sold: bool,
    /// Since it was released: tickets that were issued before this time cannot have it.
    pub free_from: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct Concert {
    pub sales_open_at: Option<Timestamp>,
    /// When its sales close: at the end of the sales window, and at the latest when the concert begins.
    pub closes_at: Option<Timestamp>,
    /// Free seats. Other transactions may be selling some of them, so this only decides between the rejections
    /// `seats-taken` and `sold-out`.
    pub available: i64,
    /// The maximum number of its seats that one customer may hold.
    pub seats_per_customer: Option<u32>,
}

/// What was decided before this batch.
#[derive(Clone, Debug, Default)]
pub struct PriorDecisions {
    /// Settled tickets, each with the request it was settled for, if known.
    pub tickets: HashMap<TicketId, Option<RequestHash>>,
    /// Used idempotency keys, each with the ticket and the request it was used for, if known.
    pub keys: HashMap<IdempotencyDigest, (TicketId, Option<RequestHash>)>,
}

impl PriorDecisions {
    /// Whether the booking is a duplicate, or a retry.
    fn has_decided(&self, command: &BookingCommand) -> bool {
        self.tickets.contains_key(&command.ticket.id)
            || command.key_digest.is_some_and(|key| self.keys.contains_key(&key))
    }
}

/// The decision on one booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All its seats are sold, in the customer's order.
    Sell(Vec<SoldSeat>),
    Reject(Rejection),
    /// A retry: it shares the outcome of the first ticket under its idempotency key.
    ShareOutcomeOf(TicketId),
    /// Its deadline has passed.
    Expire,
    /// A seat of this tier cannot be sold, because the tier's price cannot be read.
    FailWithoutPrice(TierId),
    /// A duplicate message of a settled ticket: nothing is written.
    AlreadySettled,
    /// Its ticket was settled for another request.
    TicketReused,
    /// Another session has locked one of its seats. A lock is no reason to reject: try again later.
    Defer,
}

impl Decision {
    /// Whether later bookings under the same idempotency key share this outcome. After any other decision, a retry is a new
    /// attempt.
    pub fn holds_key(&self) -> bool {
        match self {
            Self::Sell(_) => true,
            Self::Reject(rejection) => rejection.holds_key(),
            _ => false,
        }
    }
}

/// Decides on `commands` in order. `now` is a moment at which `inventory` was locked.
pub fn allocate(
    commands: &[BookingCommand],
    mut inventory: Inventory,
    mut prior: PriorDecisions,
    now: Timestamp,
) -> Vec<Decision> {
    let mut deferred_keys = HashSet::new();
    commands
        .iter()
        .map(|command| {
            let follows_deferred = command.key_digest.is_some_and(|key| deferred_keys.contains(&key));
            let decision = decide(command, &mut inventory, &prior, now, follows_deferred);
            if decision == Decision::Defer {
                deferred_keys.extend(command.key_digest);
                return decision;
            }
            prior.tickets.entry(command.ticket.id).or_insert(Some(command.hash));
            if let (Some(key), true) = (command.key_digest, decision.holds_key()) {
                prior.keys.entry(key).or_insert((command.ticket.id, Some(command.hash)));
            }
            decision
        })
        .collect()
}

/// `follows_deferred`: an earlier booking under the same key is deferred and must be decided first.
fn decide(
    command: &BookingCommand,
    inventory: &mut Inventory,
    prior: &PriorDecisions,
    now: Timestamp,
    follows_deferred: bool,
) -> Decision {
    match prior.tickets.get(&command.ticket.id) {
        Some(Some(hash)) if !command.is_for(*hash) => return Decision::TicketReused,
        Some(_) => return Decision::AlreadySettled,
        None => {}
    }
    if command.ticket.is_past_deadline(now) {
        return Decision::Expire;
    }
    match command.key_digest.and_then(|key| prior.keys.get(&key)) {
        Some((_, Some(hash))) if !command.is_for(*hash) => {
            return Decision::Reject(Rejection::IdempotencyKeyReused);
        }
        Some((first, _)) => return Decision::ShareOutcomeOf(*first),
        None => {}
    }
    if follows_deferred || command.request.seat_ids().iter().any(|seat| inventory.held.contains(seat)) {
        return Decision::Defer;
    }
    inventory.sell(&command.request, command.ticket.id.issued_at()).map_or_else(Into::into, Decision::Sell)
}

/// Why seats are not sold.
enum NotSold {
    Rejected(Rejection),
    WithoutPrice(TierId),
}

impl From<Rejection> for NotSold {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<NotSold> for Decision {
    fn from(not_sold: NotSold) -> Self {
        match not_sold {
            NotSold::Rejected(rejection) => Self::Reject(rejection),
            NotSold::WithoutPrice(tier) => Self::FailWithoutPrice(tier),
        }
    }
}

impl Inventory {
    /// Sells all the seats of `request`, or none.
    fn sell(&mut self, request: &BookingRequest, issued_at: Timestamp) -> Result<Vec<SoldSeat>, NotSold> {
        let wanted = self.find_sellable(request, issued_at)?;
        self.check_limits(request.user_email(), &wanted)?;
        let sold = wanted
            .into_iter()
            .map(|(id, seat)| self.sold_seat(id, seat).ok_or(NotSold::WithoutPrice(seat.tier_id)))
            .collect::<Result<Vec<_>, NotSold>>()?;
        for seat in &sold {
            if let Some(locked) = self.seats.get_mut(&seat.label.id) {
                locked.is_sold = true;
            }
            if let Some(concert) = self.concerts.get_mut(&seat.concert_id) {
                concert.available -= 1;
            }
            self.count_sold(request.user_email(), seat.concert_id);
        }
        Ok(sold)
    }

    /// The seats of `request`, in its order, if all can be sold to whoever may have them, for the total that it expects. The
    /// sales window is judged by `issued_at`, the time of the request, and not by the time of settlement.
    fn find_sellable(
        &self,
        request: &BookingRequest,
        issued_at: Timestamp,
    ) -> Result<Vec<(SeatId, &Seat)>, Rejection> {
        let wanted = self.find(request)?;
        for (_, seat) in &wanted {
            let Some(concert) = self.concerts.get(&seat.concert_id) else {
                continue;
            };
            // First: the sales of a concert that has begun may have been meant to open later.
            if let Some(closed_at) = concert.closes_at.filter(|closes_at| issued_at >= *closes_at) {
                return Err(Rejection::SaleClosed { closed_at });
            }
            if let Some(opens_at) = concert.sales_open_at.filter(|opens_at| issued_at < *opens_at) {
                return Err(Rejection::SaleNotOpen { opens_at });
            }
        }
        let seats: Vec<SeatLabel> = wanted
            .iter()
            .filter(|(_, seat)| seat.is_taken_for(issued_at))
            .map(|(id, seat)| seat.label(*id))
            .collect();
        if !seats.is_empty() {
            let any_left = wanted.iter().any(|(_, seat)| {
                self.concerts.get(&seat.concert_id).is_some_and(|concert| concert.available > 0)
            });
            let seat_ids = seats.iter().map(|seat| seat.id).collect();
            return Err(if any_left {
                Rejection::SeatsTaken { seat_ids, seats }
            } else {
                Rejection::SoldOut { seat_ids, seats }
            });
        }
        self.check_total(request, &wanted)?;
        Ok(wanted)
    }

    /// Checks that the seats cost what the customer has agreed to pay, if the request says what. If a price cannot be read, the
    /// seats have no total, and are not sold anyway.
    fn check_total(&self, request: &BookingRequest, wanted: &[(SeatId, &Seat)]) -> Result<(), Rejection> {
        let Some(expected_total) = request.expected_total() else { return Ok(()) };
        let prices = wanted.iter().map(|(_, seat)| self.prices.get(&seat.tier_id).copied());
        let Some(prices) = prices.collect::<Option<Vec<Price>>>() else { return Ok(()) };
        let total = Amount::sum(prices);
        if total == expected_total { Ok(()) } else { Err(Rejection::PriceChanged { total, expected_total }) }
    }

    /// The seats of `request`, in its order, if all exist and belong to the concert that it names.
    fn find(&self, request: &BookingRequest) -> Result<Vec<(SeatId, &Seat)>, Rejection> {
        let in_concert = |seat: &&Seat| {
            request.concert_id().is_none_or(|concert_id| seat.concert_id == concert_id)
                && self.exists_for(request, seat.concert_id)
        };
        let mut found = Vec::with_capacity(request.seat_ids().len());
        let mut missing = Vec::new();
        for id in request.seat_ids() {
            match self.seats.get(id).filter(in_concert) {
                Some(seat) => found.push((*id, seat)),
                None => missing.push(*id),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(self.not_found(request, missing)) }
    }

    /// `missing`: those of the requested seats that do not exist, or belong to another concert.
    fn not_found(&self, request: &BookingRequest, missing: Vec<SeatId>) -> Rejection {
        let elsewhere = missing.iter().filter_map(|id| {
            let seat = self.seats.get(id)?;
            self.exists_for(request, seat.concert_id).then(|| seat.label(*id))
        });
        let missing_concert_id = request
            .concert_id()
            .filter(|concert| !self.concerts.contains_key(concert) || !self.exists_for(request, *concert));
        Rejection::SeatsNotFound { seats: Some(elsewhere.collect()), seat_ids: missing, missing_concert_id }
    }

    /// Whether the concert is not reserved for another customer.
    fn exists_for(&self, request: &BookingRequest, concert: ConcertId) -> bool {
        self.reserved.get(&concert).is_none_or(|customer| customer == request.user_email())
    }

    /// `None` if the price of the seat's tier cannot be read.
    fn sold_seat(&self, id: SeatId, seat: &Seat) -> Option<SoldSeat> {
        let price = *self.prices.get(&seat.tier_id)?;
        Some(SoldSeat { label: seat.label(id), concert_id: seat.concert_id, tier_id: seat.tier_id, price })
    }
}

impl Seat {
    /// Whether a ticket that was issued at this time cannot have it.
    fn is_taken_for(&self, issued_at: Timestamp) -> bool {
        self.is_sold || self.free_from.is_some_and(|free_from| issued_at < free_from)
    }

    fn label(&self, id: SeatId) -> SeatLabel {
        let (section, seat_number) = (self.section.clone(), self.number.clone());
        SeatLabel { id, section, row: self.row, seat_number }
    }
}

#[cfg(test)]
mod tests;
