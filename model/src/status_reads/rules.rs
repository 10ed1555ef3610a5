//! The rules of status reads. Each can be taken out of the model.

/// A rule of status reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A worker announces an outcome after its commit. `worker/src/pipeline/consumer.rs`
    AnnounceAfterCommit,
    /// A reading of the watermark is used for a second. `api/src/outcomes/watermark.rs`
    ReadingsEnd,
    /// The second counts from the beginning of the look-up. `api/src/outcomes/watermark.rs`
    AgesCountFromBeginning,
    /// A reading says nothing about tickets beyond its bound. `api/src/outcomes/watermark.rs`
    ReadingsAreBounded,
    /// Outcomes stay in the cache for five seconds. `api/src/outcomes/cache.rs`
    OutcomesAreKept,
    /// An outcome that is read or written by an instance is cached there before it is reported.
    /// `api/src/bookings/outcome.rs`, `api/src/bookings/book_seats.rs`
    ReportedOutcomesAreCached,
    /// An assumption: no machine is suspended. Ages are measured by a clock that stands still meanwhile.
    NoMachineIsSuspended,
}
