//! The steps of the model.

use super::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The worker takes a batch of this many messages.
    Take {
        worker: usize,
        count: usize,
    },
    /// The next statement of a transaction.
    Step {
        worker: usize,
        flight: usize,
    },
    Commit {
        worker: usize,
        flight: usize,
    },
    /// The commit succeeds, and its response is lost.
    CommitWithoutResponse {
        worker: usize,
        flight: usize,
    },
    /// The server ends the session.
    LoseSession {
        worker: usize,
        flight: usize,
    },
    /// Postgres breaks a deadlock.
    Abort {
        worker: usize,
        flight: usize,
    },
    Acknowledge {
        worker: usize,
        flight: usize,
    },
    /// The worker dies, or loses its connection to the broker.
    Crash {
        worker: usize,
    },
    CommitOrphan {
        orphan: usize,
    },
    AbortOrphan {
        orphan: usize,
    },
    BeginRelease {
        ticket: Id,
    },
    /// The next statement of a release.
    StepRelease {
        release: usize,
    },
    CommitRelease {
        release: usize,
    },
    /// Its session is lost, or Postgres breaks a deadlock.
    AbortRelease {
        release: usize,
    },
    /// A late ticket is issued.
    Issue {
        ticket: Id,
    },
    /// A second message of the same booking.
    Duplicate {
        ticket: Id,
    },
}
