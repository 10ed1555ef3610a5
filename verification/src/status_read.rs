//! The documented consistency of status reads.
//!
//! A final status never changes. The instance that reported it reports it from then on. Another instance may report
//! `queued` for up to one second longer.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How much longer than one instance another may report `queued`.
pub const LAG_ALLOWED: Duration = Duration::from_secs(1);
const LAG_ALLOWED_MICROS: u64 = 1_000_000;

/// When and from which instance a ticket's status was read. Times are in microseconds since the start of the journal.
///
/// A later event of a stream counts as sent when the event before it was received. A held request counts as sent when
/// the client sent it, because its response may be `queued` when its time is up. Journals of version 1 have no such
/// times; all fields are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusRead {
    /// Number of the instance. Bookings are sent to instance 0.
    #[serde(skip_serializing_if = "is_first")]
    pub instance: u16,
    /// Rounded down.
    pub sent: u64,
    /// From then until the response. The sum is rounded up.
    pub took: u64,
}

/// The instance that reported a final status, and when the report was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub instance: u16,
    pub received: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
pub(crate) fn is_first(instance: &u16) -> bool {
    *instance == 0
}

impl StatusRead {
    pub fn received(self) -> u64 {
        self.sent.saturating_add(self.took)
    }

    /// This read as a report of a final status.
    pub fn report(self) -> Report {
        Report { instance: self.instance, received: self.received() }
    }

    /// Whether this read must not return `queued`, because of an earlier report of a final status.
    pub fn must_be_final_after(self, earlier: Report) -> bool {
        if self.instance == earlier.instance {
            self.sent >= earlier.received
        } else {
            self.sent > earlier.received.saturating_add(LAG_ALLOWED_MICROS)
        }
    }
}

/// The clock of a journal, in microseconds since its start.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    /// The time at `start`.
    begun_at: u64,
}

impl RunClock {
    pub fn starting(start: Instant) -> Self {
        Self { start, begun_at: 0 }
    }

    /// Continues from the end of a journal. The time since then does not count, so no read appears later than it was.
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

    /// The read that follows `before` on the same event stream.
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
    fn another_instance_must_report_a_final_status_after_more_than_a_second() {
        let earlier = read(0, 100).report();
        assert!(!read(1, 200).must_be_final_after(earlier));
        assert!(!read(1, 1_000_200).must_be_final_after(earlier));
        assert!(read(1, 1_000_201).must_be_final_after(earlier));
    }

    #[test]
    fn the_sent_time_is_rounded_down_and_the_received_time_up() {
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
        // Both events were received at the same moment.
        let second = clock.next_event(first, at(3_001));
        assert_eq!(second, StatusRead { instance: 1, sent: 4, took: 0 });
        assert!(second.must_be_final_after(first.report()));
        assert_eq!(clock.next_event(second, at(9_000)), StatusRead { instance: 1, sent: 4, took: 5 });
    }

    #[test]
    fn a_clock_continues_from_the_end_of_a_journal() {
        let now = RunClock::after(5_000_000).status_read(0, Instant::now(), Instant::now());
        assert!(now.sent >= 5_000_000);
    }
}
