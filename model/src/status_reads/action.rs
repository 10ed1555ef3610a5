//! The steps of the model.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    HalfSecond,
    Settle,
    /// The instance inserts the outcome `expired`, unless there is an outcome, and reports what is stored.
    Fence {
        instance: usize,
    },
    Announce {
        instance: usize,
    },
    BeginLookUp {
        instance: usize,
    },
    EndLookUp {
        instance: usize,
    },
    SendRead {
        instance: usize,
    },
    Respond,
    Evict {
        instance: usize,
    },
    Restart {
        instance: usize,
    },
    Suspend {
        instance: usize,
    },
    Resume {
        instance: usize,
    },
}
