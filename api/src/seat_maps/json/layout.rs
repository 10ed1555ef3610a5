//! The layout of a concert: its seats without what a sale changes, as runs of similar seats.

use hamro_shared::domain::{SeatId, TierId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::seat_feed::layout_version::LayoutVersion;
use crate::seat_feed::seat_table::{SeatRow, SeatTable};

// Sections and tiers are listed once, and runs refer to them by their position.
/// The seats of a concert, without which of them are booked. It never changes: another layout has another version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "layoutVersion": "9b1c5e0d2f7a4c360f8fad5bd9cb469f",
    "tiers": [1, 2],
    "sections": ["vip", "floor"],
    "totalSeats": 60,
    "runs": [
        {"firstId": 21, "count": 20, "tier": 0, "section": 0, "row": 1, "prefix": "V-", "firstNumber": 1},
        {"firstId": 41, "count": 40, "tier": 1, "section": 1, "row": 1, "prefix": "F-", "firstNumber": 1},
    ],
}))]
pub struct Layout<'a> {
    layout_version: LayoutVersion,
    /// The ids of the ticket tiers.
    tiers: Vec<TierId>,
    /// The names of the sections.
    sections: Vec<&'a str>,
    #[schema(example = 100)]
    total_seats: usize,
    /// All seats in the order of their ids, which is that of the bits of the seat status.
    runs: Vec<Run<'a>>,
}

/// Seats of one row that follow each other: each has an id and a number that are one larger than those of the seat before.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"firstId": 21, "count": 20, "tier": 0, "section": 0, "row": 1, "prefix": "V-", "firstNumber": 1}))]
pub struct Run<'a> {
    first_id: SeatId,
    #[schema(minimum = 1)]
    count: i32,
    /// The position of the tier in `tiers`, from 0.
    tier: usize,
    /// The position of the section in `sections`, from 0.
    section: usize,
    row: i32,
    /// The number of a seat is this text and its own number: `V-1`, `V-2`.
    prefix: &'a str,
    /// Missing if the number of the seat is the prefix alone. The run then has one seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    first_number: Option<u32>,
}

impl<'a> Run<'a> {
    fn of(seat: &SeatRow<'a>, tier: usize, section: usize) -> Self {
        Self {
            first_id: seat.id,
            count: 1,
            tier,
            section,
            row: seat.row,
            prefix: seat.label.prefix,
            first_number: seat.label.number,
        }
    }

    /// Adds the seat of `next`, if it follows.
    fn extend(&mut self, next: &Self) -> bool {
        let follows = next.first_id.0.checked_sub(self.first_id.0) == Some(self.count)
            && (next.tier, next.section, next.row, next.prefix)
                == (self.tier, self.section, self.row, self.prefix)
            && matches!((self.first_number, next.first_number), (Some(first), Some(number))
                if first.checked_add(self.count.unsigned_abs()) == Some(number));
        self.count += i32::from(follows);
        follows
    }
}

/// The JSON of a [`Layout`].
pub fn encode(table: &SeatTable) -> Vec<u8> {
    let (mut tiers, mut sections, mut runs) = (Vec::new(), Vec::new(), Vec::<Run>::new());
    let names: Vec<&str> = table.sections().collect();
    // The table may have names of sections that no seat has any more.
    let mut positions = vec![None; names.len()];
    for seat in table.rows() {
        let section = *positions[seat.section].get_or_insert_with(|| {
            sections.push(names[seat.section]);
            sections.len() - 1
        });
        let tier = tiers.iter().position(|tier| *tier == seat.tier).unwrap_or_else(|| {
            tiers.push(seat.tier);
            tiers.len() - 1
        });
        let run = Run::of(&seat, tier, section);
        if !runs.last_mut().is_some_and(|last| last.extend(&run)) {
            runs.push(run);
        }
    }
    let layout =
        Layout { layout_version: table.layout_version(), tiers, sections, total_seats: table.total(), runs };
    serde_json::to_vec(&layout).expect("is JSON")
}
