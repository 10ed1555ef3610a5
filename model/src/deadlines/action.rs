//! The steps of the model.

use super::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    /// `is_stored`: the message is in the queue. The instance may not know.
    Issue {
        ticket: Id,
        clock_error: i8,
        is_stored: bool,
    },
    /// Lock the seat and decide.
    Decide {
        worker: usize,
        ticket: Id,
        clock_error: i8,
    },
    Insert {
        worker: usize,
    },
    Commit {
        worker: usize,
    },
    Crash {
        worker: usize,
    },
    CommitOrphan,
    AbortOrphan,
    Fence {
        ticket: Id,
    },
    /// A status read that finds the stored outcome.
    Report {
        ticket: Id,
    },
}
