//! The documented consistency of status reads.
//!
//! A final status never changes. The instance that reported it reports it from then on. Another instance may report
//! `queued` for up to one second longer.

use serde::{Deserialize, Serialize};

/// How much longer than one instance another may report `queued`, in microseconds.
const LAG_ALLOWED: u64 = 1_000_000;

/// When and from which instance a ticket's status was read. Times are in microseconds since the start of the journal.
///
/// A later event of a stream counts as sent when the event before it was received. A held request counts as sent when
/// the client sent it, because its response may be `queued` when its time is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRead {
    /// The process that responded.
    pub instance: String,
    /// Rounded down.
    pub sent: u64,
    /// Rounded up.
    pub received: u64,
}

impl StatusRead {
    /// Whether this read must not return `queued`, because `earlier` returned a final status.
    pub fn must_be_final_after(&self, earlier: &Self) -> bool {
        if self.instance == earlier.instance {
            self.sent >= earlier.received
        } else {
            self.sent > earlier.received + LAG_ALLOWED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(instance: &str, sent: u64, received: u64) -> StatusRead {
        StatusRead { instance: instance.to_owned(), sent, received }
    }

    #[test]
    fn the_instance_that_reported_a_final_status_must_report_it_from_then_on() {
        let earlier = read("a", 100, 200);
        assert!(read("a", 200, 300).must_be_final_after(&earlier));
        assert!(!read("a", 199, 5_000_000).must_be_final_after(&earlier));
    }

    #[test]
    fn another_instance_must_report_a_final_status_after_more_than_a_second() {
        let earlier = read("a", 100, 200);
        assert!(!read("b", 200, 300).must_be_final_after(&earlier));
        assert!(!read("b", 1_000_200, 1_000_300).must_be_final_after(&earlier));
        assert!(read("b", 1_000_201, 1_000_300).must_be_final_after(&earlier));
    }
}
