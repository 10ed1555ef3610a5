//! What an instance knows about one concert.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hamro_shared::domain::{ConcertId, SaleKey, SeatId, Timestamp};
#[cfg(feature = "faults")]
use hamro_shared::faults::{Safeguard, is_disabled};

use super::layout::Layout;
use super::rule::{LEASE, SeatsVersion, applies, has_lease};
use super::sales::Sales;

/// A sale that is not announced within this time after its commit is read from the database.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(1);

/// The seats of a concert and their sales, as read from the database and updated by announcements.
#[derive(Debug)]
pub struct Concert {
    pub id: ConcertId,
    pub layout: Layout,
    pub sales: Sales,
    version: SeatsVersion,
    terms: Terms,
    /// When the last comparison began that found the same version.
    compared_at: Option<Duration>,
    /// How many seats were free in the database, and when that comparison began.
    free_before: Option<(Duration, usize)>,
    /// What a comparison has found wrong.
    outdated: Option<Outdated>,
    /// When a booking was last requested, in milliseconds.
    used_at: AtomicU64,
    /// Before this time it is not loaded again.
    load_again_from: Duration,
}

/// What else decides how a worker rejects a booking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub sales_open_at: Option<Timestamp>,
    /// At the latest when the concert begins.
    pub sales_close_at: Option<Timestamp>,
}

/// What a comparison has read about a concert.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    pub version: SeatsVersion,
    pub terms: Terms,
    /// How many seats are free, by the counters of the tiers.
    pub free: usize,
}

/// Why the seats have to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// Seats were freed, added or removed.
    Freed,
    /// The database was restored, or another server was promoted.
    Restored,
    /// The announcement of a sale was lost. What is known is still true.
    Missed,
}

/// The time of a request.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the [`boot_clock`](crate::boot_clock).
    pub since_boot: Duration,
    /// By the clock that issues tickets.
    pub time: Timestamp,
}

impl Concert {
    pub fn new(id: ConcertId, layout: Layout, sales: Sales, version: SeatsVersion, terms: Terms) -> Self {
        Self {
            id,
            layout,
            sales,
            version,
            terms,
            compared_at: None,
            free_before: None,
            outdated: None,
            used_at: AtomicU64::default(),
            load_again_from: Duration::ZERO,
        }
    }

    /// Whether a worker would now reject a booking of sold seats because they are sold, and for no reason that comes first.
    pub fn may_decide(&self, now: Moment) -> bool {
        let Terms { sales_open_at, sales_close_at } = self.terms;
        has_lease(self.compared_at, now.since_boot)
            && sales_open_at.is_none_or(|opens_at| now.time >= opens_at)
            && sales_close_at.is_none_or(|closes_at| now.time < closes_at)
    }

    /// Learns an announced sale, unless it was made in another state of the seats.
    pub fn learn(&mut self, announced: SeatsVersion, seats: &[(SeatId, SaleKey)]) {
        #[cfg(feature = "faults")]
        let announced = if is_disabled(Safeguard::FreedVersions) { self.version } else { announced };
        if !applies(announced, self.version) {
            return;
        }
        for (seat, sale) in seats {
            if let Some(place) = self.layout.place(*seat) {
                self.sales.mark(place, *sale);
            }
        }
    }

    /// Takes what a comparison has found that began at `began`, when `known_free` seats were not known as sold.
    pub fn compare(&mut self, compared: Compared, known_free: usize, began: Duration) {
        let Compared { version, terms, free } = compared;
        self.terms = terms;
        #[cfg(feature = "faults")]
        let version = if is_disabled(Safeguard::FreedVersions) { self.version } else { version };
        if version != self.version {
            self.compared_at = None;
            let was_restored = version.history != self.version.history;
            self.outdated = Some(if was_restored { Outdated::Restored } else { Outdated::Freed });
            return;
        }
        // No seat is known as sold that was not, so a seat was freed in a way that has not changed `freed_version`.
        let is_any_freed = free > known_free;
        #[cfg(feature = "faults")]
        let is_any_freed = is_any_freed && !is_disabled(Safeguard::FreedVersions);
        if is_any_freed {
            self.compared_at = None;
            self.outdated = Some(Outdated::Freed);
            return;
        }
        self.compared_at = Some(began);
        self.look_for_missed_sales(free, began);
    }

    /// Compares the known sales with the seats that were free a second ago: by now, each sale before that was announced.
    fn look_for_missed_sales(&mut self, free: usize, began: Duration) {
        match self.free_before {
            Some((at, _)) if began.saturating_sub(at) < ANNOUNCED_WITHIN => {}
            before => {
                let has_missed = before.is_some_and(|(_, free)| self.sales.free() > free);
                self.outdated = has_missed.then_some(Outdated::Missed);
                self.free_before = Some((began, free));
            }
        }
    }

    pub fn outdated(&self) -> Option<Outdated> {
        self.outdated
    }

    /// Whether it should be read again now.
    pub fn should_load(&self, now: Duration) -> bool {
        self.outdated.is_some() && self.load_again_from <= now
    }

    /// Does not load it again for nine times as long as loading took until `now`, so that loading takes at most a tenth of the
    /// time, however often seats are released.
    pub fn loaded(&mut self, began: Duration, now: Duration) {
        self.load_again_from = now + now.saturating_sub(began) * 9;
    }

    /// Records that a booking is requested.
    pub fn use_now(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        // Not for each request: the cores would contend for it.
        if millis.saturating_sub(self.used_at.load(Ordering::Relaxed)) > 50 {
            self.used_at.store(millis, Ordering::Relaxed);
        }
    }

    pub fn used_at(&self) -> Duration {
        Duration::from_millis(self.used_at.load(Ordering::Relaxed))
    }

    /// Whether bookings are being requested.
    pub fn is_used(&self, now: Duration) -> bool {
        now.saturating_sub(self.used_at()) < LEASE
    }

    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.layout.bytes() + self.sales.bytes()
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::SeatLabel;
    use hamro_shared::epoch::History;
    use uuid::Uuid;

    use super::super::layout::Layout;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn version(epoch: u128, freed_version: i64) -> SeatsVersion {
        SeatsVersion { history: History { epoch: Uuid::from_u128(epoch), timeline: 1 }, freed_version }
    }

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(millis).unwrap()
    }

    fn concert(terms: Terms) -> Concert {
        let mut layout = Layout::default();
        for id in 1..=3 {
            let (section, seat_number) = ("front".to_owned(), id.to_string());
            layout.push(&SeatLabel { id: SeatId(id), section, row: 1, seat_number });
        }
        let id = ConcertId(Uuid::from_u128(7));
        Concert::new(id, layout, Sales::none(3), version(1, 1), terms)
    }

    fn at(since_boot: Duration) -> Moment {
        Moment { since_boot, time: time(5_000) }
    }

    fn same(free: usize) -> Compared {
        Compared { version: version(1, 1), terms: Terms::default(), free }
    }

    fn compare(concert: &mut Concert, compared: Compared, began: Duration) {
        concert.compare(compared, concert.sales.free(), began);
    }

    #[test]
    fn a_concert_decides_only_while_a_comparison_counts_that_found_the_same_version() {
        let mut concert = concert(Terms::default());
        assert!(!concert.may_decide(at(SECOND)), "it was not compared yet");
        compare(&mut concert, same(3), SECOND);
        assert!(concert.may_decide(at(Duration::from_millis(1_999))));
        assert!(!concert.may_decide(at(SECOND * 2)));
        for (other, expected) in [(version(1, 2), Outdated::Freed), (version(2, 1), Outdated::Restored)] {
            compare(&mut concert, same(3), SECOND * 3);
            compare(&mut concert, Compared { version: other, ..same(3) }, SECOND * 3);
            assert!(!concert.may_decide(at(SECOND * 3)));
            assert_eq!(concert.outdated(), Some(expected));
        }
    }

    #[test]
    fn a_concert_that_is_not_on_sale_does_not_decide() {
        for (terms, expected) in [
            (Terms { sales_open_at: Some(time(5_000)), ..Terms::default() }, true),
            (Terms { sales_open_at: Some(time(5_001)), ..Terms::default() }, false),
            (Terms { sales_close_at: Some(time(5_001)), ..Terms::default() }, true),
            (Terms { sales_close_at: Some(time(5_000)), ..Terms::default() }, false),
        ] {
            let mut concert = concert(Terms::default());
            compare(&mut concert, Compared { terms, ..same(3) }, SECOND);
            assert_eq!(concert.may_decide(at(SECOND)), expected, "{terms:?}");
        }
    }

    #[test]
    fn a_sale_is_learned_only_from_an_announcement_with_the_same_version() {
        let mut concert = concert(Terms::default());
        let sale = [(SeatId(1), SaleKey::None), (SeatId(77), SaleKey::None)];
        for other in [version(1, 0), version(1, 2), version(2, 1)] {
            concert.learn(other, &sale);
        }
        assert_eq!(concert.sales.free(), 3);
        concert.learn(version(1, 1), &sale);
        assert_eq!(concert.sales.free(), 2);
    }

    #[test]
    fn a_lost_announcement_is_noticed_a_second_later_and_does_not_end_the_lease() {
        let mut concert = concert(Terms::default());
        compare(&mut concert, same(2), SECOND);
        compare(&mut concert, same(2), SECOND + SECOND / 2);
        assert_eq!(concert.outdated(), None, "it may still be announced");
        compare(&mut concert, same(2), SECOND * 2);
        assert_eq!(concert.outdated(), Some(Outdated::Missed));
        assert!(concert.may_decide(at(SECOND * 2)));
        concert.learn(version(1, 1), &[(SeatId(1), SaleKey::None)]);
        compare(&mut concert, same(2), SECOND * 3);
        assert_eq!(concert.outdated(), None);
    }

    #[test]
    fn a_seat_that_was_freed_without_another_version_ends_the_lease() {
        let mut concert = concert(Terms::default());
        concert.learn(version(1, 1), &[(SeatId(1), SaleKey::None)]);
        compare(&mut concert, same(2), SECOND);
        assert!(concert.may_decide(at(SECOND)));
        compare(&mut concert, same(3), SECOND);
        assert!(!concert.may_decide(at(SECOND)));
        assert_eq!(concert.outdated(), Some(Outdated::Freed));
        // A sale that was announced since the comparison began is no such seat.
        concert.compare(same(3), 3, SECOND);
        assert!(concert.may_decide(at(SECOND)));
    }

    #[test]
    fn loading_takes_at_most_a_tenth_of_the_time() {
        let mut concert = concert(Terms::default());
        concert.loaded(SECOND, SECOND * 2);
        compare(&mut concert, Compared { version: version(1, 2), ..same(3) }, SECOND * 3);
        assert!(!concert.should_load(Duration::from_millis(10_999)));
        assert!(concert.should_load(SECOND * 11));
    }
}
