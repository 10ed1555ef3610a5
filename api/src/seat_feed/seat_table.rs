//! The seats of one concert as they are stored, in memory. It is compact, because an instance may keep millions: 48 bytes
//! per seat, with each text that seats share kept once.

mod builder;
mod label;
mod names;

use hamro_shared::domain::{SeatId, TierId, Timestamp};

pub use self::builder::SeatTableBuilder;
pub use self::label::Label;
use self::names::Names;
use super::booked_seats::BookedSeats;
use super::layout_version::LayoutVersion;

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
    /// In ascending order of their ids.
    seats: Vec<Row>,
    tiers: Vec<TierId>,
    sections: Names,
    prefixes: Names,
    layout_version: LayoutVersion,
    /// Differs between any two states of the concert's table.
    revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    booked_at: i64,
    created_at: i64,
    updated_at: i64,
    layout: Layout,
}

/// What a sale does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    id: SeatId,
    tier: u32,
    section: u32,
    row: i32,
    prefix: u32,
    number: u32,
}

const NOT_BOOKED: i64 = i64::MIN;
const NO_NUMBER: u32 = u32::MAX;

impl SeatTable {
    /// How many seats there are.
    pub fn total(&self) -> usize {
        self.seats.len()
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
        self.seats.capacity() * size_of::<Row>() + self.sections.bytes() + self.prefixes.bytes()
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = SeatRow<'_>> {
        self.seats.iter().map(|row| {
            let layout = row.layout;
            SeatRow {
                id: layout.id,
                tier: self.tiers[layout.tier as usize],
                section: layout.section as usize,
                row: layout.row,
                label: Label {
                    prefix: self.prefixes.name(layout.prefix),
                    number: Some(layout.number).filter(|number| *number != NO_NUMBER),
                },
                booked_at: Some(row.booked_at).filter(|moment| *moment != NOT_BOOKED),
                created_at: row.created_at,
                updated_at: row.updated_at,
            }
        })
    }

    pub fn booked(&self) -> BookedSeats {
        BookedSeats::new(self.seats.iter().map(|row| (row.layout.id, row.booked_at != NOT_BOOKED)))
    }

    /// Replaces seats by what they are now, and sets the revision if that changes anything. Returns `false` if the layout has
    /// changed: seats were added, renamed or moved. All seats then have to be read.
    #[must_use]
    pub fn replace(&mut self, changed: &[StoredSeat], revision: u64) -> bool {
        for seat in changed {
            let row = self.row(seat);
            let Ok(index) = self.seats.binary_search_by_key(&seat.id, |row| row.layout.id) else {
                return false;
            };
            let current = &mut self.seats[index];
            if current.layout != row.layout {
                return false;
            }
            if *current != row {
                *current = row;
                self.revision = revision;
            }
        }
        true
    }

    fn row(&mut self, seat: &StoredSeat) -> Row {
        let label = Label::of(&seat.label);
        let layout = Layout {
            id: seat.id,
            tier: self.tier(seat.tier),
            section: self.sections.number(&seat.section),
            row: seat.row,
            prefix: self.prefixes.number(label.prefix),
            number: label.number.unwrap_or(NO_NUMBER),
        };
        Row {
            booked_at: seat.booked_at.map_or(NOT_BOOKED, Timestamp::unix_millis),
            created_at: seat.created_at.unix_millis(),
            updated_at: seat.updated_at.unix_millis(),
            layout,
        }
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
    fn a_seat_takes_at_most_fifty_bytes() {
        let seats: Vec<StoredSeat> = (1..=10_000).map(|id| seat(id, &format!("V-{id}"))).collect();
        assert!(table(&seats).bytes() < 50 * seats.len());
    }
}
