//! The steps of the model.

use super::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    Send {
        attempt: Id,
    },
    Queue {
        attempt: Id,
        clock_error: u8,
    },
    Refuse {
        attempt: Id,
        instance: usize,
    },
    Settle {
        attempt: Id,
    },
    /// `is_later_version`: the digest was computed by other rules than the instance's.
    Announce {
        attempt: Id,
        instance: usize,
        is_later_version: bool,
    },
    /// It became a dead letter, which an operator reissues under a new ticket.
    Reissue {
        attempt: Id,
    },
    Load {
        instance: usize,
        digests_known: bool,
    },
    ReadVersion {
        instance: usize,
    },
    BeginComparison {
        instance: usize,
    },
    EndComparison {
        instance: usize,
    },
    /// `only_first`: the first seat of the sale, and not all.
    BeginRelease {
        attempt: Id,
        only_first: bool,
    },
    CommitRelease,
    /// The second transaction.
    FinishRelease,
    /// The instance that began the release ends.
    AbandonRelease,
    Restore,
    FailOver,
    Reconnect {
        instance: usize,
    },
    Suspend {
        instance: usize,
    },
    Resume {
        instance: usize,
    },
}
