//! The stated consistency of status reads.
//!
//! A final status never changes. The instance that reported it reports it from then on. Another instance may answer
//! `queued` for up to one second longer.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How much longer than one instance another may answer `queued`.
pub const LAG_ALLOWED: Duration = Duration::from_secs(1);
const LAG_ALLOWED_MICROS: u64 = 1_000_000;

/// When a ticket's status was read, and from which instance. Times are microseconds of the journal's clock.
///
/// A later event of a stream counts as sent when the event before it was received. A held request counts as sent when
/// the client sent it: it may answer `queued` when its time is up. In a journal of version 1 there is none of this: what
/// it tells was received before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusRead {
    /// 0 is the instance that bookings were made at. An instance is known by its URL.
    #[serde(skip_serializing_if = "is_main")]
    pub instance: u16,
    /// Rounded down.
    pub sent: u64,
    /// From then until the response, so that their sum is rounded up.
    pub took: u64,
}

/// Which instance reported a final status, and when that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub instance: u16,
    pub received: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_main(instance: &u16) -> bool {
    *instance == 0
}

impl StatusRead {
    pub fn received(self) -> u64 {
        self.sent.saturating_add(self.took)
    }

    /// What it is to later reads, if it was answered with a final status.
    pub fn report(self) -> Report {
        Report { instance: self.instance, received: self.received() }
    }

    /// Whether this read must not be answered `queued` after a final status was reported.
    pub fn must_be_final_after(self, earlier: Report) -> bool {
        if self.instance == earlier.instance {
            self.sent >= earlier.received
        } else {
            self.sent > earlier.received.saturating_add(LAG_ALLOWED_MICROS)
        }
    }
}

/// The clock of a journal.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    /// What it showed at the start.
    begun_at: u64,
}

impl RunClock {
    pub fn starting(start: Instant) -> Self {
        Self { start, begun_at: 0 }
    }

    /// Goes on where the journal ends. Time that has passed since does not count: no read is taken for later than it was.
    pub fn after(latest: u64) -> Self {
        Self { start: Instant::now(), begun_at: latest }
    }

    pub fn status_read(&self, instance: u16, sent: Instant, received: Instant) -> StatusRead {
        let nanos = |at: Instant| at.saturating_duration_since(self.start).as_nanos();
        let micros =
            |nanos: u128| self.begun_at.saturating_add(u64::try_from(nanos / 1_000).unwrap_or(u64::MAX));
        let (sent, received) = (micros(nanos(sent)), micros(nanos(received) + 999));
        StatusRead { instance, sent, took: received.saturating_sub(sent) }
    }

    /// The event of a stream that comes after the one that was this read.
    pub fn next_event(&self, before: StatusRead, received: Instant) -> StatusRead {
        let at = self.status_read(before.instance, received, received);
        StatusRead {
            sent: before.received(),
            took: at.received().saturating_sub(before.received()),
            ..before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(instance: u16, sent: u64) -> StatusRead {
        StatusRead { instance, sent, took: 100 }
    }

    #[test]
    fn the_instance_that_reported_a_final_status_must_report_it_from_then_on() {
        let earlier = read(0, 100).report();
        assert!(read(0, 200).must_be_final_after(earlier));
        assert!(!read(0, 199).must_be_final_after(earlier));
    }

    #[test]
    fn another_instance_must_report_it_after_more_than_a_second() {
        let earlier = read(0, 100).report();
        assert!(!read(1, 200).must_be_final_after(earlier));
        assert!(!read(1, 1_000_200).must_be_final_after(earlier));
        assert!(read(1, 1_000_201).must_be_final_after(earlier));
    }

    #[test]
    fn times_are_rounded_so_that_no_read_counts_as_later_than_it_was() {
        let start = Instant::now();
        let clock = RunClock::starting(start);
        let (sent, received) = (start + Duration::from_nanos(1_999), start + Duration::from_nanos(3_001));
        let read = clock.status_read(2, sent, received);
        assert_eq!(read, StatusRead { instance: 2, sent: 1, took: 3 });
        assert_eq!(read.report(), Report { instance: 2, received: 4 });
    }

    #[test]
    fn an_event_of_a_stream_counts_as_sent_when_the_event_before_it_was_received() {
        let start = Instant::now();
        let clock = RunClock::starting(start);
        let at = |nanos| start + Duration::from_nanos(nanos);
        let first = clock.status_read(1, at(1_500), at(3_001));
        // At the same moment: both came at once.
        let second = clock.next_event(first, at(3_001));
        assert_eq!(second, StatusRead { instance: 1, sent: 4, took: 0 });
        assert!(second.must_be_final_after(first.report()));
        assert_eq!(clock.next_event(second, at(9_000)), StatusRead { instance: 1, sent: 4, took: 5 });
    }

    #[test]
    fn a_clock_goes_on_where_a_journal_ends() {
        let now = RunClock::after(5_000_000).status_read(0, Instant::now(), Instant::now());
        assert!(now.sent >= 5_000_000);
    }
}
