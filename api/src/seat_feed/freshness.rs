//! How current the seats in memory are: when they were last compared with the database, and what must be newer than a write.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::SeatFeed;
use super::error::{SeatFeedError, UNVERIFIED_MAX};
use super::watched_seat_map::{Verification, WatchedSeatMap};

/// How long a comparison of a seat map with the database is good for.
const VERIFIED_FOR: Duration = Duration::from_secs(1);

/// What a document about the seats must contain to be current.
#[derive(Clone, Copy)]
pub struct Needed {
    /// It is current if its seats were read at this time or later.
    pub since: Instant,
    /// If they were read before this time, it may lack what this instance wrote itself.
    pub own_writes_since: Option<Instant>,
}

impl Needed {
    /// Whether what was read at this time contains what this instance wrote itself.
    pub fn has_own_writes(self, read_at: Instant) -> bool {
        self.own_writes_since.is_none_or(|written_at| read_at >= written_at)
    }
}

impl SeatFeed {
    /// What a document about the seats must contain now.
    pub fn needed(&self, seat_map: &WatchedSeatMap) -> Needed {
        let changed_at = seat_map.changed_at();
        match self.own_writes.last_of(seat_map.concert) {
            Some(written_at) => {
                Needed { since: changed_at.max(written_at), own_writes_since: Some(written_at) }
            }
            None => Needed { since: changed_at, own_writes_since: None },
        }
    }

    /// Waits until a seat map has been compared with the database within the last second. If the database does not respond,
    /// returns how long ago the last comparison was, or an error if that is too long.
    pub async fn verify(&self, seat_map: &WatchedSeatMap) -> Result<Option<Duration>, SeatFeedError> {
        let deadline = Instant::now() + VERIFIED_FOR;
        loop {
            let compared = self.compared.notified();
            let Verification { age, is_failing } = seat_map.verification();
            if age <= VERIFIED_FOR {
                return Ok(None);
            }
            if is_failing || timeout_at(deadline, compared).await.is_err() {
                return usable_unverified(age).map(Some);
            }
        }
    }
}

fn usable_unverified(age: Duration) -> Result<Duration, SeatFeedError> {
    if age > UNVERIFIED_MAX { Err(SeatFeedError::Unverified) } else { Ok(age) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_map_that_cannot_be_verified_is_used_for_a_minute() {
        let minute = Duration::from_mins(1);
        assert!(matches!(usable_unverified(minute), Ok(age) if age == minute));
        assert!(matches!(usable_unverified(minute + VERIFIED_FOR), Err(SeatFeedError::Unverified)));
    }
}
