//! Decides when a watched seat map has to be reloaded, by comparing it with the counters in the database.

use std::time::Duration;

use tokio::time::Instant;

use super::version::SeatMapVersion;

/// How long a seat map may rely on announcements and counters alone, even if its number of available seats is right. Reading
/// what has changed is cheap, and finds what was written without the counters.
const RELOAD_AFTER: Duration = Duration::from_secs(10);

/// What earlier comparisons of one seat map with the database have shown.
///
/// Announcements keep the map up to date, but one may be lost, and seats may be added or freed, which is not announced.
/// Both show in the number of available seats. The map and the database rarely agree during a sale, though: a worker
/// announces a sale only after its commit, so for a moment the map has more available seats.
pub struct Reconciliation {
    /// The version that was loaded last.
    loaded_version: Option<String>,
    /// How many seats were available then.
    loaded_available: usize,
    loaded_at: Instant,
    /// The last version at which the map had as many available seats as the database.
    verified_version: Option<String>,
    /// Whether the map had more available seats than the database in the previous comparison.
    was_ahead: bool,
}

/// How many seats of a watched map were available around the query for the database's version.
#[derive(Clone, Copy)]
pub struct AvailableSeats {
    pub before_query: usize,
    pub after_query: usize,
}

impl Reconciliation {
    pub fn new(now: Instant) -> Self {
        Self {
            loaded_version: None,
            loaded_available: 0,
            loaded_at: now,
            verified_version: None,
            was_ahead: false,
        }
    }

    /// Records a complete load of the seats, which began at `loaded_at` and found this many available.
    pub fn record_load(&mut self, version: SeatMapVersion, available: usize, loaded_at: Instant) {
        self.loaded_version = Some(version.tag);
        self.loaded_available = available;
        self.loaded_at = loaded_at;
        self.was_ahead = false;
    }

    /// Whether `version` is the one that was loaded last.
    pub fn has_loaded(&self, version: &SeatMapVersion) -> bool {
        self.loaded_version.as_ref() == Some(&version.tag)
    }

    /// Compares the map with the database's `version`. Returns whether the seats have to be reloaded.
    ///
    /// - If the map has changed and the database has not, an announcement was late: that of a sale, for example, after
    ///   that of its release.
    /// - If the map is ahead in two comparisons in a row, an announcement was lost. In a rush it may also just have
    ///   been late twice; an unnecessary reload does no harm.
    /// - If the database has more available seats than the map had before the query, seats were added or freed.
    /// - If the database has no version, the concert or its last tier was deleted. Both may have had no available seats.
    /// - Equal numbers do not prove equal seats, so the map is also reloaded after [`RELOAD_AFTER`].
    pub fn needs_reload(&mut self, version: SeatMapVersion, available: AvailableSeats, now: Instant) -> bool {
        let is_old = now.duration_since(self.loaded_at) > RELOAD_AFTER;
        if self.has_loaded(&version) {
            self.was_ahead = false;
            return available.before_query != self.loaded_available || is_old;
        }
        if version.tag.is_empty() {
            return true;
        }
        if self.verified_version.as_ref() == Some(&version.tag) {
            self.was_ahead = false;
            return is_old;
        }
        let is_ahead = available.after_query > version.available;
        let is_announcement_lost = is_ahead && self.was_ahead;
        self.was_ahead = is_ahead;
        if available.after_query == version.available {
            self.verified_version = Some(version.tag);
        }
        is_announcement_lost || version.available > available.before_query || is_old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded() -> Reconciliation {
        let mut reconciliation = Reconciliation::new(Instant::now());
        reconciliation.record_load(version("0", 100), 100, Instant::now());
        reconciliation
    }

    fn version(tag: &str, available: usize) -> SeatMapVersion {
        SeatMapVersion { tag: tag.to_owned(), available, total: available }
    }

    fn available(before_query: usize, after_query: usize) -> AvailableSeats {
        AvailableSeats { before_query, after_query }
    }

    #[test]
    fn a_lost_announcement_during_a_rush_is_detected_by_the_second_comparison() {
        let (mut reconciliation, now) = (loaded(), Instant::now());
        assert!(!reconciliation.needs_reload(version("0", 100), available(100, 100), now));
        // One sale was not announced. Thirty later ones are, before the second comparison.
        assert!(!reconciliation.needs_reload(version("1", 99), available(100, 100), now));
        assert!(reconciliation.needs_reload(version("2", 69), available(70, 70), now));
    }

    #[test]
    fn a_late_announcement_does_not_cause_a_reload() {
        let (mut reconciliation, now) = (loaded(), Instant::now());
        assert!(!reconciliation.needs_reload(version("1", 99), available(100, 100), now));
        assert!(!reconciliation.needs_reload(version("1", 99), available(99, 99), now));
        // Nor does an announcement that arrives during the query.
        assert!(!reconciliation.needs_reload(version("2", 98), available(98, 97), now));
    }

    #[test]
    fn a_sale_announced_after_its_release_causes_a_reload() {
        let (mut reconciliation, now) = (loaded(), Instant::now());
        assert!(reconciliation.needs_reload(version("0", 100), available(99, 99), now));
        // Unlike one that arrives during the query, which may be new.
        assert!(!reconciliation.needs_reload(version("0", 100), available(100, 99), now));
    }

    #[test]
    fn added_seats_cause_a_reload_in_the_first_comparison() {
        assert!(loaded().needs_reload(version("1", 105), available(100, 100), Instant::now()));
    }

    #[test]
    fn a_deleted_concert_that_was_sold_out_causes_a_reload_in_the_first_comparison() {
        assert!(loaded().needs_reload(SeatMapVersion::default(), available(0, 0), Instant::now()));
    }

    #[test]
    fn a_seat_map_that_agrees_with_the_database_is_reloaded_after_ten_seconds() {
        let (mut reconciliation, now) = (loaded(), Instant::now());
        assert!(!reconciliation.needs_reload(version("1", 99), available(99, 99), now));
        let later = now + RELOAD_AFTER + Duration::from_secs(1);
        assert!(reconciliation.needs_reload(version("1", 99), available(99, 99), later));
        let mut unchanged = loaded();
        assert!(!unchanged.needs_reload(version("0", 100), available(100, 100), now));
        assert!(
            unchanged.needs_reload(version("0", 100), available(100, 100), later),
            "a seat was renamed by hand"
        );
    }
}
