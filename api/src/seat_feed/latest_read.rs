//! What the latest read of a concert's seats has found, and from where the next read goes on.

use std::sync::Arc;

use tokio::time::Instant;

use super::seat_table::SeatTable;
use super::stored_seats::{Found, ReadPoint};

#[derive(Default)]
pub struct LatestRead {
    stored: Option<Stored>,
    /// How many reads have begun. The table has the number of the read that changed it as its revision.
    begun: u64,
}

/// The seats as they were stored when they were read.
struct Stored {
    table: Arc<SeatTable>,
    point: ReadPoint,
    /// When the read began.
    read_at: Instant,
}

/// What became of a read.
pub enum Applied {
    Table {
        table: Arc<SeatTable>,
        /// Whether this read has found a change.
        is_changed: bool,
    },
    /// What has changed is not enough: all seats have to be read.
    AllNeeded,
    NoConcert,
}

impl LatestRead {
    /// Begins a read. Returns from where it goes on, or `None` if it has to read all seats, and the revision of a table that
    /// it changes.
    pub fn begin(&mut self) -> (Option<ReadPoint>, u64) {
        self.begun += 1;
        // A concert without seats may have been deleted: reading all seats tells.
        let stored = self.stored.as_ref().filter(|stored| stored.table.total() > 0);
        (stored.map(|stored| stored.point.clone()), self.begun)
    }

    /// Begins a read of all seats. Returns its revision.
    pub fn begin_all(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// Brings the table up to date by what the read has found that began at `read_at`.
    pub fn apply(&mut self, found: Found, point: ReadPoint, read_at: Instant) -> Applied {
        let table = match found {
            Found::NoConcert => return Applied::NoConcert,
            Found::All(table) => table,
            Found::Changes { changed, count, revision } => {
                let Some(stored) = self.stored.as_mut().filter(|stored| stored.table.total() == count) else {
                    return Applied::AllNeeded;
                };
                // It is copied if a document is being made of it.
                if !Arc::make_mut(&mut stored.table).replace(&changed, revision) {
                    return Applied::AllNeeded;
                }
                stored.table.clone()
            }
        };
        self.stored = Some(Stored { table: table.clone(), point, read_at });
        let is_changed = table.revision() == self.begun;
        Applied::Table { table, is_changed }
    }

    /// Makes the next read one of all seats.
    pub fn forget(&mut self) {
        self.stored = None;
    }

    /// The seats as they were stored, and when they were read.
    pub fn stored(&self) -> Option<(Arc<SeatTable>, Instant)> {
        self.stored.as_ref().map(|stored| (stored.table.clone(), stored.read_at))
    }

    pub fn read_at(&self) -> Option<Instant> {
        self.stored.as_ref().map(|stored| stored.read_at)
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.stored.as_ref().map_or(0, |stored| stored.table.bytes())
    }
}
