//! Paces the bookings that rotate through the dead queue until they are due.

use std::collections::HashSet;
use std::time::Duration;

use hamro_shared::domain::Timestamp;

/// Bounds the pause after a round, and so the delay of messages that arrive meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Consecutive messages that were put back because they were not due.
#[derive(Default)]
pub(super) struct Rotation {
    seen: HashSet<Vec<u8>>,
    earliest: Option<Timestamp>,
}

impl Rotation {
    /// Records a message that was put back until `due`. Returns how long to pause before the next message. When a
    /// message appears a second time the queue holds nothing else, and the pause lasts until the earliest message is
    /// due.
    pub fn record_put_back(&mut self, body: &[u8], due: Timestamp, now: Timestamp) -> Duration {
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
    fn a_full_round_pauses_once_until_its_earliest_message_is_due() {
        let now = Timestamp::from_unix_millis(1_000_000).unwrap();
        let (soon, late) = (now + Duration::from_millis(300), now + Duration::from_secs(20));
        let mut rotation = Rotation::default();
        assert_eq!(rotation.record_put_back(b"late", late, now), Duration::ZERO);
        assert_eq!(rotation.record_put_back(b"soon", soon, now), Duration::ZERO);
        assert_eq!(rotation.record_put_back(b"late", late, now), Duration::from_millis(300));
        assert_eq!(rotation.record_put_back(b"late", late, now), Duration::ZERO);
        assert_eq!(rotation.record_put_back(b"late", late, now), LONGEST_PAUSE);
    }
}
