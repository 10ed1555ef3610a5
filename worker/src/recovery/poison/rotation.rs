//! How fast bookings that are not due yet go round in the dead queue.

use std::collections::HashSet;
use std::time::Duration;

use hamro_shared::domain::Timestamp;

/// The longest pause after a round, so that what comes in meanwhile does not wait for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A sequence of messages that were put back, with nothing in between that was due.
#[derive(Default)]
pub(super) struct Rotation {
    seen: HashSet<Vec<u8>>,
    earliest: Option<Timestamp>,
}

impl Rotation {
    /// Counts a message that was put back because it is due only at `due`. Returns how long to pause before the next: once a
    /// message comes again, the queue holds nothing else, and the pause lasts until the earliest of them is due.
    pub fn put_back(&mut self, body: &[u8], due: Timestamp, now: Timestamp) -> Duration {
        let earliest = self.earliest.map_or(due, |earliest| earliest.min(due));
        if self.seen.insert(body.to_owned()) {
            self.earliest = Some(earliest);
            return Duration::ZERO;
        }
        *self = Self::default();
        now.until(earliest).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_pauses_once_until_its_earliest_message_is_due() {
        let now = Timestamp::from_unix_millis(1_000_000).unwrap();
        let (soon, late) = (now + Duration::from_millis(300), now + Duration::from_secs(20));
        let mut rotation = Rotation::default();
        assert_eq!(rotation.put_back(b"late", late, now), Duration::ZERO);
        assert_eq!(rotation.put_back(b"soon", soon, now), Duration::ZERO);
        assert_eq!(rotation.put_back(b"late", late, now), Duration::from_millis(300));
        assert_eq!(rotation.put_back(b"late", late, now), Duration::ZERO);
        assert_eq!(rotation.put_back(b"late", late, now), LONGEST_PAUSE);
    }
}
