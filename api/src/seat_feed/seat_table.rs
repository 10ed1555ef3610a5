//! The seats of one concert as they are stored, in memory. It is compact, because an instance may keep millions: about 20
//! bytes per seat if its seats are in rows.

mod builder;

use hamro_shared::domain::{SeatId, TierId, Timestamp};

pub use self::builder::SeatTableBuilder;
use super::booked_seats::BookedSeats;
use super::layout_version::LayoutVersion;
use crate::seat_runs::{Label, Names, SeatRuns};

/// A seat as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSeat {
    pub id: SeatId,
    pub tier: TierId,
    pub label: String,
    pub row: i32,
    pub section: String,
    pub booked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A seat of a table.
#[derive(Clone, Copy, Debug)]
pub struct SeatRow<'a> {
    pub id: SeatId,
    pub tier: TierId,
    /// The number of the section in [`SeatTable::sections`].
    pub section: usize,
    pub row: i32,
    pub label: Label<'a>,
    /// In milliseconds since 1970, as the other times.
    pub booked_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Debug, Default)]
pub struct SeatTable {
    seats: SeatRuns<RunAttributes>,
    /// Of the seats, by their places.
    times: Vec<Times>,
    tiers: Vec<TierId>,
    sections: Names,
    prefixes: Names,
    layout_version: LayoutVersion,
    /// Differs between any two states of the concert's table.
    revision: u64,
}

/// What a sale changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    booked_at: i64,
    updated_at: i64,
}

/// What the seats of a run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunAttributes {
    tier: u32,
    section: u32,
    row: i32,
    /// Of the label.
    prefix: u32,
    created_at: i64,
}

const NOT_BOOKED: i64 = i64::MIN;

impl SeatTable {
    /// How many seats there are.
    pub fn total(&self) -> usize {
        self.times.len()
    }

    pub fn layout_version(&self) -> LayoutVersion {
        self.layout_version
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The names of all sections that the concert has or has had.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = &str> {
        self.sections.iter()
    }

    /// About how much memory the table takes.
    pub fn bytes(&self) -> usize {
        let times = self.times.capacity() * size_of::<Times>();
        self.seats.bytes() + times + self.sections.bytes() + self.prefixes.bytes()
    }

    pub fn rows(&self) -> impl Iterator<Item = SeatRow<'_>> {
        self.rows_from(0)
    }

    /// The seat at this place and all after it.
    pub fn rows_from(&self, place: usize) -> impl Iterator<Item = SeatRow<'_>> {
        self.seats.iter_from(place).zip(self.times.iter().skip(place)).map(|(seat, times)| {
            let RunAttributes { tier, section, row, prefix, created_at } = *seat.shared;
            SeatRow {
                id: seat.id,
                tier: self.tiers[tier as usize],
                section: section as usize,
                row,
                label: Label { prefix: self.prefixes.name(prefix), number: seat.number },
                booked_at: Some(times.booked_at).filter(|moment| *moment != NOT_BOOKED),
                created_at,
                updated_at: times.updated_at,
            }
        })
    }

    pub fn booked(&self) -> BookedSeats {
        let is_booked = self.times.iter().map(|times| times.booked_at != NOT_BOOKED);
        BookedSeats::new(self.seats.iter().map(|seat| seat.id).zip(is_booked))
    }

    /// Replaces seats by what they are now, and sets the revision if that changes anything. Returns `false` if more than a sale
    /// or a release has changed them: seats were added, renamed or moved, or their `created_at` was changed by hand. All seats then have to be read.
    #[must_use]
    pub fn replace(&mut self, changed: &[StoredSeat], revision: u64) -> bool {
        for seat in changed {
            let (number, attributes, times) = self.encode(seat);
            let Some(place) = self.seats.place(seat.id) else { return false };
            let current = self.seats.seat(place);
            if (current.number, *current.shared) != (number, attributes) {
                return false;
            }
            if self.times[place] != times {
                self.times[place] = times;
                self.revision = revision;
            }
        }
        true
    }

    /// Adds a seat, whose id must be larger than those before it.
    fn push(&mut self, seat: &StoredSeat) {
        let (number, attributes, times) = self.encode(seat);
        self.seats.push(seat.id, number, attributes);
        self.times.push(times);
    }

    /// The number in the label of a seat, and the rest but its id.
    fn encode(&mut self, seat: &StoredSeat) -> (Option<u32>, RunAttributes, Times) {
        let label = Label::of(&seat.label);
        let attributes = RunAttributes {
            tier: self.tier(seat.tier),
            section: self.sections.number(&seat.section),
            row: seat.row,
            prefix: self.prefixes.number(label.prefix),
            created_at: seat.created_at.unix_millis(),
        };
        let times = Times {
            booked_at: seat.booked_at.map_or(NOT_BOOKED, Timestamp::unix_millis),
            updated_at: seat.updated_at.unix_millis(),
        };
        (label.number, attributes, times)
    }

    fn tier(&mut self, tier: TierId) -> u32 {
        // The tier of the last seat is usually that of this one, and a concert has few.
        let index = self.tiers.iter().rposition(|known| *known == tier).unwrap_or_else(|| {
            self.tiers.push(tier);
            self.tiers.len() - 1
        });
        u32::try_from(index).expect("a concert has fewer seats")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(millis).unwrap()
    }

    fn seat(id: i32, label: &str) -> StoredSeat {
        StoredSeat {
            id: SeatId(id),
            tier: TierId(1),
            label: label.to_owned(),
            row: 1,
            section: "vip".to_owned(),
            booked_at: None,
            created_at: at(1),
            updated_at: at(1),
        }
    }

    fn table(seats: &[StoredSeat]) -> SeatTable {
        let mut builder = SeatTableBuilder::with_capacity(seats.len());
        for seat in seats {
            builder.push(seat);
        }
        builder.finish(1)
    }

    #[test]
    fn a_sale_changes_the_revision_and_not_the_layout() {
        let seats = [seat(1, "V-1"), seat(2, "V-2")];
        let mut changed = table(&seats);
        let sold = StoredSeat { booked_at: Some(at(2)), updated_at: at(2), ..seats[1].clone() };
        assert!(changed.replace(&[seats[0].clone()], 2));
        assert_eq!(changed.revision(), 1, "nothing has changed");
        assert!(changed.replace(&[sold], 2));
        assert_eq!(changed.revision(), 2);
        assert_eq!(changed.layout_version(), table(&seats).layout_version());
        assert_eq!(changed.booked().bits(), [0b10]);
    }

    #[test]
    fn what_changes_the_layout_changes_its_version() {
        let seats = [seat(1, "V-1"), seat(2, "V-2")];
        let second = seats[1].clone();
        for (what, changed) in [
            ("renamed", StoredSeat { label: "V-3".to_owned(), ..second.clone() }),
            ("moved to another row", StoredSeat { row: 2, ..second.clone() }),
            ("moved to another section", StoredSeat { section: "floor".to_owned(), ..second.clone() }),
            ("moved to another tier", StoredSeat { tier: TierId(2), ..second }),
            ("added", seat(3, "V-3")),
        ] {
            assert!(!table(&seats).replace(std::slice::from_ref(&changed), 2), "{what}");
            let mut after = seats.to_vec();
            after.retain(|seat| seat.id != changed.id);
            after.push(changed);
            assert_ne!(table(&after).layout_version(), table(&seats).layout_version(), "{what}");
        }
        assert_ne!(table(&seats[..1]).layout_version(), table(&seats).layout_version());
    }

    #[test]
    fn a_seat_of_a_row_takes_about_twenty_bytes() {
        let row = |id: i32| (id - 1) / 40 + 1;
        let seat =
            |id| StoredSeat { row: row(id), ..seat(id, &format!("{}-{}", row(id), (id - 1) % 40 + 1)) };
        let seats: Vec<StoredSeat> = (1..=10_000).map(seat).collect();
        let bytes = table(&seats).bytes();
        assert!(bytes < 24 * seats.len(), "{bytes}");
    }
}
