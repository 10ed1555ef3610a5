//! The rules that deadlines rest on. Each can be taken out of the model.

/// A rule of deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A fence inserts the row `expired`, and does not only report it.
    FencesInsertRows,
    /// A fence reports the stored outcome, also if a worker has inserted it.
    FencesReportWhatIsStored,
    /// A fence compares the deadline with the database's clock.
    FencesUseTheDatabaseClock,
    /// The primary key of `bookings`.
    TicketsAreUnique,
    /// A worker does not sell a ticket past its deadline.
    WorkersCheckDeadlines,
    /// A process corrects its clock by the offset from the database's.
    ClocksAreCorrected,
    /// An expired ticket does not hold its key.
    ExpiredTicketsHoldNoKey,
    /// A batch that meets a row of its ticket is rolled back and tried again.
    ConflictsAreRetried,
}
