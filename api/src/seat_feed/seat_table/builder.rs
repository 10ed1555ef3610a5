//! Makes a table, and the version of its layout.

use sha2::{Digest, Sha256};

use super::{SeatTable, StoredSeat};
use crate::seat_feed::layout_version::LayoutVersion;

/// Collects the seats of a concert into a table.
#[derive(Default)]
pub struct SeatTableBuilder {
    table: SeatTable,
    layout: Sha256,
}

impl SeatTableBuilder {
    /// For about as many seats.
    pub fn with_capacity(seats: usize) -> Self {
        let mut builder = Self::default();
        builder.table.times.reserve_exact(seats);
        builder
    }

    /// Adds a seat, whose id must be larger than those before it.
    pub fn push(&mut self, seat: &StoredSeat) {
        self.table.push(seat);
        // Each part ends where the next begins, so no two layouts have the same bytes.
        self.layout.update(seat.id.0.to_le_bytes());
        self.layout.update(seat.tier.0.to_le_bytes());
        self.layout.update(seat.row.to_le_bytes());
        for text in [&seat.section, &seat.label] {
            self.layout.update((text.len() as u64).to_le_bytes());
            self.layout.update(text.as_bytes());
        }
    }

    pub fn finish(self, revision: u64) -> SeatTable {
        let mut table = self.table;
        table.seats.shrink_to_fit();
        table.times.shrink_to_fit();
        table.layout_version = LayoutVersion::of(&self.layout.finalize());
        table.revision = revision;
        table
    }
}
