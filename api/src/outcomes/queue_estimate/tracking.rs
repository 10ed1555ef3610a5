//! Arrivals and departures since tracking began.

use super::arrivals::Arrivals;
use super::discrepancy::{Correction, Discrepancies, Discrepancy};

pub struct Tracking {
    pub arrivals: Arrivals,
    /// Bookings that were settled or have left the queue in another way.
    pub departed: i64,
    discrepancies: Discrepancies,
}

impl Tracking {
    /// Begins at `now`, in milliseconds since the Unix epoch, with `bookings` in the queue.
    pub fn starting_at(now: i64, bookings: i64, has_others: bool) -> Self {
        let arrivals = Arrivals::starting_at(now, bookings, has_others);
        Self { arrivals, departed: 0, discrepancies: Discrepancies::default() }
    }

    /// How many bookings have arrived and not departed.
    pub fn backlog(&self) -> i64 {
        self.arrivals.all() - self.departed
    }

    /// When the first booking in the queue arrived, in milliseconds since the Unix epoch. `None` if the queue is empty.
    pub fn oldest_arrival(&self) -> Option<i64> {
        (self.backlog() > 0).then(|| self.arrivals.oldest_arrival(self.departed))
    }

    pub fn depart(&mut self, bookings: i64) {
        self.departed += bookings;
        self.arrivals.forget_settled(self.departed);
    }

    /// Compares the counts with `in_queue`. It includes none, some or all of the bookings in flight.
    pub fn compare(&mut self, in_queue: i64, in_flight: i64) {
        let counted = self.backlog();
        let found = Discrepancy { uncounted: in_queue - counted, missing: counted - in_flight - in_queue };
        match self.discrepancies.record(found) {
            Some(Correction::Arrived(bookings)) => self.arrivals.correct(bookings),
            Some(Correction::Departed(bookings)) => self.depart(bookings),
            None => {}
        }
    }

    /// It is uncertain what is in the queue.
    pub fn skip_comparison(&mut self) {
        self.discrepancies.clear();
    }
}
