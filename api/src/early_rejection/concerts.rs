//! The concerts that an instance knows, and which of their seats a booking wants.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hamro_shared::domain::{BookingRequest, ConcertId, IdempotencyKey, Rejection, SaleKey, SeatId};
#[cfg(feature = "faults")]
use hamro_shared::faults::{Safeguard, is_disabled};
use hamro_shared::queue::AnnouncedSales;

use super::concert::{Compared, Concert, Moment, Outdated};
use super::rule::{SeatsVersion, SoldSeat, may_reject};

/// The memory that all concerts may take. Those that were not used for longest are forgotten.
pub const BYTES_MAX: usize = 96 << 20;

/// About the memory of one run of seats in the index.
const RUN_BYTES: usize = 64;

/// The concerts, by their ids and by the ids of their seats.
pub struct Concerts {
    by_id: HashMap<ConcertId, Concert>,
    /// Consecutive seats of one concert, by the first of them.
    runs: BTreeMap<SeatId, ConcertRun>,
    /// The concerts that are being loaded, each with the sales that were announced meanwhile.
    loading: HashMap<ConcertId, Vec<Announced>>,
    bytes: usize,
    bytes_max: usize,
}

impl Default for Concerts {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            runs: BTreeMap::new(),
            loading: HashMap::new(),
            bytes: 0,
            bytes_max: BYTES_MAX,
        }
    }
}

/// Consecutive seats of a concert.
#[derive(Clone, Copy)]
struct ConcertRun {
    last: SeatId,
    concert: ConcertId,
    /// The place of the first seat in its concert's layout.
    place: usize,
}

/// Announced sales of one concert.
struct Announced {
    version: SeatsVersion,
    seats: Vec<(SeatId, SaleKey)>,
}

/// What the known concerts say about a booking.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Reject(Rejection),
    /// A worker decides.
    Queue,
    /// A worker decides, because a seat is of no known concert.
    QueueUnknown,
}

impl Concerts {
    /// Whether a worker would certainly reject the booking because its seats are sold.
    pub fn judge(&self, request: &BookingRequest, key: Option<&IdempotencyKey>, now: Moment) -> Verdict {
        let (mut may_decide, mut is_any_sold) = (true, false);
        for seat in request.seat_ids() {
            let Some((concert, place)) = self.find(*seat) else { return Verdict::QueueUnknown };
            concert.use_now(now.since_boot);
            may_decide &=
                concert.may_decide(now) && request.concert_id().is_none_or(|named| named == concert.id);
            is_any_sold |= concert.sales.is_sold(place);
        }
        if may_decide && is_any_sold { self.judge_sold(request, key) } else { Verdict::Queue }
    }

    /// At least one of the seats is sold, and all are known.
    fn judge_sold(&self, request: &BookingRequest, key: Option<&IdempotencyKey>) -> Verdict {
        let wanted: Vec<(&Concert, usize)> =
            request.seat_ids().iter().filter_map(|seat| self.find(*seat)).collect();
        let sold: Vec<SoldSeat<'_>> =
            wanted.iter().filter_map(|(concert, place)| concert.sales.of(*place)).collect();
        let keys = key.map(|key| key.possible_digests(request.user_email())).unwrap_or_default();
        #[cfg(feature = "faults")]
        let keys = if is_disabled(Safeguard::SaleKeys) { Vec::new() } else { keys };
        if !may_reject(&keys, &sold) {
            return Verdict::Queue;
        }
        let is_sold = |(concert, place): &&(&Concert, usize)| concert.sales.is_sold(*place);
        let seats: Vec<_> =
            wanted.iter().filter(is_sold).map(|(concert, place)| concert.layout.label(*place)).collect();
        let seat_ids = seats.iter().map(|seat| seat.id).collect();
        let is_any_left = wanted.iter().any(|(concert, _)| concert.sales.free() > 0);
        Verdict::Reject(if is_any_left {
            Rejection::SeatsTaken { seat_ids, seats }
        } else {
            Rejection::SoldOut { seat_ids, seats }
        })
    }

    /// The concert of a seat, and the seat's place in its layout.
    fn find(&self, seat: SeatId) -> Option<(&Concert, usize)> {
        let (first, run) = self.runs.range(..=seat).next_back()?;
        let offset = usize::try_from(seat.0.checked_sub(first.0)?).ok()?;
        let concert = self.by_id.get(&run.concert).filter(|_| seat <= run.last)?;
        Some((concert, run.place + offset))
    }

    pub fn knows(&self, seat: SeatId) -> bool {
        self.find(seat).is_some()
    }

    /// Learns the announced sales of a transaction. Those of a concert that is being loaded are kept until it is.
    pub fn learn(&mut self, sales: &AnnouncedSales) {
        for announced in &sales.concerts {
            let id = announced.concert_id;
            if !self.by_id.contains_key(&id) && !self.loading.contains_key(&id) {
                continue;
            }
            let version = SeatsVersion { history: sales.history, freed_version: announced.freed_version };
            let seats = announced.seats.iter().map(|(seat, digest)| (*seat, sales.key(*digest))).collect();
            let announced = Announced { version, seats };
            if let Some(concert) = self.by_id.get_mut(&id) {
                concert.learn(announced.version, &announced.seats);
            }
            if let Some(meanwhile) = self.loading.get_mut(&id) {
                meanwhile.push(announced);
            }
        }
    }

    /// Marks the seats of an accepted booking as sold, as nothing may do.
    #[cfg(feature = "faults")]
    pub fn mark_accepted(&mut self, seats: &[SeatId]) {
        for seat in seats {
            if let Some((id, place)) = self.find(*seat).map(|(concert, place)| (concert.id, place))
                && let Some(concert) = self.by_id.get_mut(&id)
            {
                concert.sales.mark(place, SaleKey::None);
            }
        }
    }

    /// The concert is read from the database from now on.
    pub fn begin_load(&mut self, concert: ConcertId) {
        self.loading.insert(concert, Vec::new());
    }

    /// The concert was read, or `None` if that failed or there is no such concert any more. Returns what is no longer needed:
    /// to drop it may take long.
    pub fn end_load(&mut self, id: ConcertId, loaded: Option<Concert>) -> Vec<Concert> {
        let meanwhile = self.loading.remove(&id).unwrap_or_default();
        let mut unneeded = Vec::from_iter(self.remove(id));
        let Some(mut concert) = loaded else { return unneeded };
        for announced in meanwhile {
            concert.learn(announced.version, &announced.seats);
        }
        if let Some(before) = unneeded.first() {
            concert.use_now(before.used_at());
        }
        self.add(concert);
        unneeded.extend(self.evict());
        unneeded
    }

    fn add(&mut self, concert: Concert) {
        let id = concert.id;
        let runs = concert.layout.runs();
        self.bytes += bytes(&concert, runs.len());
        for run in runs {
            self.runs.insert(run.first, ConcertRun { last: run.last, concert: id, place: run.place });
        }
        self.by_id.insert(id, concert);
    }

    fn remove(&mut self, id: ConcertId) -> Option<Concert> {
        let concert = self.by_id.remove(&id)?;
        let runs = concert.layout.runs();
        self.bytes -= bytes(&concert, runs.len());
        for run in runs {
            // A seat may have moved to another concert since.
            if self.runs.get(&run.first).is_some_and(|indexed| indexed.concert == id) {
                self.runs.remove(&run.first);
            }
        }
        Some(concert)
    }

    /// Removes those that were not used for longest, until the others fit.
    fn evict(&mut self) -> Vec<Concert> {
        let mut evicted = Vec::new();
        while self.bytes > self.bytes_max {
            let oldest = self.by_id.values().min_by_key(|concert| concert.used_at());
            let Some(concert) = oldest.map(|concert| concert.id).and_then(|id| self.remove(id)) else {
                break;
            };
            evicted.push(concert);
        }
        evicted
    }

    /// Takes what a comparison has found that began at `began`, when `free` seats were not known as sold. Returns why the concert
    /// is outdated, if it was not before.
    pub fn compare(
        &mut self,
        id: ConcertId,
        compared: Compared,
        free: usize,
        began: Duration,
    ) -> Option<Outdated> {
        let concert = self.by_id.get_mut(&id)?;
        let before = concert.outdated();
        concert.compare(compared, free, began);
        concert.outdated().filter(|cause| before != Some(*cause))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Concert> {
        self.by_id.values()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes(concert: &Concert, runs: usize) -> usize {
    concert.bytes() + runs * RUN_BYTES
}

#[cfg(test)]
mod tests;
