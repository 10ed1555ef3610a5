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
    Announce {
        attempt: Id,
        instance: usize,
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
    Restore,
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
