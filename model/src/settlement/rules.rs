//! The rules that settlement rests on. Each can be taken out of the model.

/// A rule of settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A batch is acknowledged after its commit. `worker/src/pipeline/consumer.rs`
    AcknowledgeAfterCommit,
    /// Batches are acknowledged in the order of their deliveries, because an acknowledgement covers all earlier ones.
    /// `worker/src/pipeline/in_flight.rs`
    AcknowledgeInOrder,
    /// A transaction locks the seats that it may sell. `worker/src/settlement/seat_locks.rs`
    LockSeats,
    /// It locks them in the order of their ids. `worker/src/settlement/seat_locks.rs`
    LockInOrder,
    /// It reads which tickets are settled. `worker/src/settlement/read.rs`
    LookUpTickets,
    /// It reads which keys are used. `worker/src/settlement/read.rs`
    LookUpKeys,
    /// It reads both after it has locked the seats. `worker/src/settlement/transaction.rs`
    LookUpAfterLocking,
    /// It inserts the rows of `bookings` in one order. `worker/src/settlement/results.rs`
    InsertInOrder,
    /// The primary key of `bookings`. `migrations/`
    TicketsAreUnique,
    /// The unique index on the keys in `bookings`. `migrations/`
    KeysAreUnique,
    /// The unique index on the seats of live sales. `migrations/`
    LiveSeatsAreUnique,
    /// A release locks the seats of the sale, in the order of their ids. `api/src/bookings/release_transaction.rs`
    ReleasesLockSeats,
    /// It reads which seats the sale still has after it has locked them. `api/src/bookings/release_transaction.rs`
    ReleasesReadUnderLocks,
    /// A released sale keeps its ticket and its key. `api/src/bookings/release_transaction.rs`
    ReleasesKeepTheKey,
    /// A released seat is sold only to tickets that are issued later. `worker/src/settlement/allocation.rs`
    ReleasedSeatsNeedLaterTickets,
}
