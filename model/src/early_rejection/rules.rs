//! The rules that make early rejection safe. Each can be taken out of the model.

/// A rule of the design, or an assumption that it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An instance needs a comparison that found the version of its view.
    LeaseNeedsComparison,
    /// A comparison counts for a second.
    LeaseEnds,
    /// The second counts from the comparison's beginning, and not from its end.
    LeaseCountsFromBeginning,
    /// A comparison compares `freed_version`.
    VersionsAreCompared,
    /// A comparison compares `epoch`, and an announcement of another epoch is ignored.
    EpochsAreCompared,
    /// The same for the timeline of the server.
    TimelinesAreCompared,
    /// A new database session ends the lease until the seats are read again.
    NewSessionsEndLeases,
    /// `freed_version` changes in every transaction that frees a seat.
    ReleasesChangeFreedVersion,
    /// The seats and their version are read from one snapshot.
    SeatsAreReadWithTheirVersion,
    /// A seat is marked as sold by a committed sale, and not when a booking of it is accepted.
    OnlyCommittedSalesMark,
    /// An attempt with a key is refused only if the digests of the sold seats are of other keys.
    KeyedAttemptsNeedDigests,
    /// An unknown digest counts as the attempt's own.
    UnknownDigestsMatch,
    /// A digest names the version of the rules by which it was computed. One of another version is unknown.
    DigestsNameTheirVersion,
    /// A released seat becomes free only some time later.
    FreedSeatsWait,
    /// A worker sells a released seat only to tickets issued after it became free.
    ReleasedSeatsNeedLaterTickets,
    /// A released seat becomes free three seconds after the release is committed, and not after it was written: a second
    /// transaction says when.
    FreeFromCountsFromCommit,
    /// If an instance ends between the two transactions of a release, another finishes it.
    OthersFinishReleases,
    /// An announcement names the version that its sale has read, and is ignored if it is not that of the view.
    AnnouncementsNameTheVersion,
    /// An attempt with a key is also queued if a released sale of one of its seats may have been its own.
    ReleasedSalesCount,
    /// The clock that measures the age of a comparison runs on while the machine is suspended.
    AgesCountSuspensions,
    /// A restore counts as a release of all seats that are unsold afterwards.
    RestoresRelease,
    /// An assumption: the clock that issues tickets is less than two seconds ahead of the database's.
    ClocksAreCorrected,
    /// An assumption: a failover loses no committed transaction.
    FailoversKeepCommits,
    /// An assumption: nobody reissues a booking after its retry was refused and its seat released.
    ReissuesAreDecided,
    /// An assumption: a first try reaches an instance within the second in which it was sent, or never.
    RequestsArriveInTime,
}
