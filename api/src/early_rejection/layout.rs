//! The seats of a concert and what they are called, in about twenty bytes a seat.

use std::collections::HashMap;

use hamro_shared::domain::{SeatId, SeatLabel};

/// The seats of a concert in the order of their ids. A seat's place is its index.
#[derive(Debug, Default)]
pub struct Layout {
    ids: Vec<SeatId>,
    rows: Vec<i32>,
    /// Indices of `sections`.
    section_of: Vec<u32>,
    sections: Vec<Box<str>>,
    /// The seat numbers, one after the other.
    numbers: String,
    /// Where each seat number ends.
    number_ends: Vec<u32>,
}

/// Consecutive ids of seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: SeatId,
    pub last: SeatId,
    /// The place of the first seat.
    pub place: usize,
}

/// Collects the seats of a layout in the order of their ids.
#[derive(Default)]
pub struct LayoutBuilder {
    layout: Layout,
    sections: HashMap<String, u32>,
}

impl LayoutBuilder {
    /// Adds a seat. Its id is larger than all before.
    pub fn push(&mut self, seat: SeatLabel) {
        let Self { layout, sections } = self;
        let SeatLabel { id, section, row, seat_number } = seat;
        let next = u32::try_from(sections.len()).unwrap_or(u32::MAX);
        let section = *sections.entry(section).or_insert_with_key(|section| {
            layout.sections.push(section.as_str().into());
            next
        });
        layout.ids.push(id);
        layout.rows.push(row);
        layout.section_of.push(section);
        layout.numbers.push_str(&seat_number);
        layout.number_ends.push(u32::try_from(layout.numbers.len()).unwrap_or(u32::MAX));
    }

    pub fn finish(mut self) -> Layout {
        self.layout.shrink();
        self.layout
    }
}

impl Layout {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The seat at this place, which exists.
    pub fn label(&self, place: usize) -> SeatLabel {
        let text = |end: u32| usize::try_from(end).unwrap_or(usize::MAX);
        let begin = place.checked_sub(1).map_or(0, |before| text(self.number_ends[before]));
        let number = self.numbers.get(begin..text(self.number_ends[place])).unwrap_or_default();
        let section = self.sections.get(text(self.section_of[place]));
        SeatLabel {
            id: self.ids[place],
            section: section.map(ToString::to_string).unwrap_or_default(),
            row: self.rows[place],
            seat_number: number.to_owned(),
        }
    }

    /// The place of the seat with this id.
    pub fn place(&self, seat: SeatId) -> Option<usize> {
        self.ids.binary_search(&seat).ok()
    }

    /// The ids as few runs: those of a concert are usually consecutive.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (place, id) in self.ids.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if run.last.0.checked_add(1) == Some(id.0) => run.last = *id,
                _ => runs.push(Run { first: *id, last: *id, place }),
            }
        }
        runs
    }

    pub fn bytes(&self) -> usize {
        let sections: usize = self.sections.iter().map(|section| section.len() + size_of::<Box<str>>()).sum();
        self.ids.capacity() * size_of::<SeatId>()
            + self.rows.capacity() * size_of::<i32>()
            + (self.section_of.capacity() + self.number_ends.capacity()) * size_of::<u32>()
            + self.numbers.capacity()
            + sections
    }

    /// Releases the memory that was reserved for further seats.
    fn shrink(&mut self) {
        self.ids.shrink_to_fit();
        self.rows.shrink_to_fit();
        self.section_of.shrink_to_fit();
        self.numbers.shrink_to_fit();
        self.number_ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(id: i32, section: &str, seat_number: &str) -> SeatLabel {
        SeatLabel {
            id: SeatId(id),
            section: section.to_owned(),
            row: id,
            seat_number: seat_number.to_owned(),
        }
    }

    #[test]
    fn a_layout_returns_the_seats_that_were_added() {
        let seats = [
            label(3, "vip", "V-1"),
            label(4, "front", ""),
            label(9, "vip", "ü-2"),
            label(10, "front", "F-1"),
        ];
        let mut builder = LayoutBuilder::default();
        for seat in seats.clone() {
            builder.push(seat);
        }
        let layout = builder.finish();
        for (place, seat) in seats.iter().enumerate() {
            assert_eq!((layout.place(seat.id), &layout.label(place)), (Some(place), seat));
        }
        assert_eq!((layout.len(), layout.place(SeatId(5))), (4, None));
        let run = |first, last, place| Run { first: SeatId(first), last: SeatId(last), place };
        assert_eq!(layout.runs(), [run(3, 4, 0), run(9, 10, 2)]);
    }

    #[test]
    fn a_seat_takes_about_twenty_bytes() {
        let mut builder = LayoutBuilder::default();
        for id in 1..=20_000 {
            builder.push(label(id, "front", "F-20000"));
        }
        let layout = builder.finish();
        assert!(layout.bytes() < 24 * 20_000, "{}", layout.bytes());
    }
}
