//! The concerts that have controls of their own, and what these mean for a booking.

use std::collections::BTreeMap;

use hamro_shared::domain::{BookingRequest, ConcertId};
use hamro_shared::queue::{ConcertControls, Published};
use tokio::time::Instant;
use uuid::Uuid;

use super::NotAdmitted;
use super::seats::SeatIndex;
use super::shared_limit::SharedLimit;

/// The concerts with controls, and their seats as they were last read.
#[derive(Default)]
pub struct ControlledConcerts {
    concerts: BTreeMap<ConcertId, ControlledConcert>,
    /// `None`: this instance has not read any since it started.
    seats: Option<SeatIndex>,
}

struct ControlledConcert {
    is_paused: bool,
    /// Bookings that clients have requested from this instance since it knows of the controls.
    requested: u64,
    limit: SharedLimit,
}

/// The controlled concerts of a booking: usually none.
#[derive(Debug, Default)]
pub struct BookedConcerts(Vec<ConcertId>);

impl BookedConcerts {
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl ControlledConcerts {
    /// Obeys these controls. Returns whether they are of other concerts than before. A concert that is new here has the
    /// instances of `all`, the limit of all bookings.
    pub fn obey(&mut self, controls: &[ConcertControls], all: &SharedLimit, now: Instant) -> bool {
        let is_same = self.concerts.keys().eq(controls.iter().map(|control| &control.concert_id));
        if !is_same {
            self.concerts.retain(|id, _| controls.iter().any(|control| control.concert_id == *id));
        }
        for control in controls {
            let concert = self.concerts.entry(control.concert_id).or_insert_with(|| ControlledConcert {
                is_paused: false,
                requested: 0,
                limit: all.among_the_same_instances(),
            });
            concert.is_paused = control.paused;
            concert.limit.set(control.accept_per_second, now);
        }
        !is_same
    }

    pub fn knows_seats(&self) -> bool {
        self.seats.is_some()
    }

    pub fn set_seats(&mut self, seats: SeatIndex) {
        self.seats = Some(seats);
    }

    pub fn ids(&self) -> Vec<ConcertId> {
        self.concerts.keys().copied().collect()
    }

    /// Counts a requested booking for each controlled concert of which it names a seat, or which it names itself.
    pub fn count_request(&mut self, request: &BookingRequest) -> BookedConcerts {
        let of_seats = request.seat_ids().iter().filter_map(|seat| self.seats.as_ref()?.concert_of(*seat));
        let named = of_seats.chain(request.concert_id());
        let mut booked: Vec<ConcertId> = named.filter(|id| self.concerts.contains_key(id)).collect();
        booked.sort_unstable();
        booked.dedup();
        for id in &booked {
            if let Some(concert) = self.concerts.get_mut(id) {
                concert.requested += 1;
            }
        }
        BookedConcerts(booked)
    }

    pub fn check_paused(&self, booked: &BookedConcerts) -> Result<(), NotAdmitted> {
        let is_paused = |id: &&ConcertId| self.concerts.get(id).is_some_and(|concert| concert.is_paused);
        match booked.0.iter().find(is_paused) {
            Some(concert) => Err(NotAdmitted::ConcertPaused { concert: *concert }),
            None => Ok(()),
        }
    }

    /// Whether the booking is within the limits of all its concerts. Uses up nothing of them.
    pub fn check_limits(&mut self, booked: &BookedConcerts, now: Instant) -> Result<(), NotAdmitted> {
        for id in &booked.0 {
            // The controls may just have been removed.
            let Some(concert) = self.concerts.get_mut(id) else { continue };
            let refused = |backlog| NotAdmitted::ConcertLimited { concert: *id, backlog };
            concert.limit.check(now).map_err(refused)?;
        }
        Ok(())
    }

    /// Uses up the part of one booking of each limit, which [`Self::check_limits`] has found within them.
    pub fn take(&mut self, booked: &BookedConcerts, now: Instant) {
        for id in &booked.0 {
            if let Some(concert) = self.concerts.get_mut(id) {
                concert.limit.take(now);
            }
        }
    }

    /// Since when this instance has received heartbeats; `None` while it does not.
    pub fn listens_since(&mut self, since: Option<Instant>) {
        for concert in self.concerts.values_mut() {
            concert.limit.demand.listens_since(since);
        }
    }

    /// What a heartbeat says about the demand of this instance.
    pub fn requested(&self) -> BTreeMap<ConcertId, u64> {
        self.concerts.iter().map(|(id, concert)| (*id, concert.requested)).collect()
    }

    /// Records a heartbeat of this instance.
    pub fn record_own(&mut self, published: &Published, now: Instant) {
        for (id, concert) in &mut self.concerts {
            concert.limit.demand.record_own(requested_of(published, *id), now);
        }
    }

    /// Records a heartbeat of another instance.
    pub fn record_other(&mut self, instance: Uuid, published: &Published, now: Instant) {
        for (id, concert) in &mut self.concerts {
            concert.limit.demand.record_other(instance, requested_of(published, *id), now);
        }
    }
}

/// None yet, if the instance does not know of the concert's controls.
fn requested_of(published: &Published, concert: ConcertId) -> u64 {
    published.requested_by_concert.get(&concert).copied().unwrap_or_default()
}
