//! The seats of a concert and what they are called, in little memory.

use hamro_shared::domain::{SeatId, SeatLabel};

use crate::seat_runs::{Label, Names, SeatRuns};

/// The seats of a concert in the order of their ids.
#[derive(Debug, Default)]
pub struct Layout {
    seats: SeatRuns<RunAttributes>,
    sections: Names,
    prefixes: Names,
}

/// What the seats of a run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunAttributes {
    section: u32,
    row: i32,
    /// Of the seat number.
    prefix: u32,
}

/// Consecutive ids of seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: SeatId,
    pub last: SeatId,
    /// The place of the first seat.
    pub place: usize,
}

impl Layout {
    /// Adds a seat. Its id is larger than all before.
    pub fn push(&mut self, seat: &SeatLabel) {
        let SeatLabel { id, section, row, seat_number } = seat;
        let Label { prefix, number } = Label::of(seat_number);
        let (section, prefix) = (self.sections.number(section), self.prefixes.number(prefix));
        self.seats.push(*id, number, RunAttributes { section, row: *row, prefix });
    }

    pub fn len(&self) -> usize {
        self.seats.total()
    }

    /// The seat at this place, which exists.
    pub fn label(&self, place: usize) -> SeatLabel {
        let seat = self.seats.seat(place);
        let RunAttributes { section, row, prefix } = *seat.shared;
        let label = Label { prefix: self.prefixes.name(prefix), number: seat.number };
        SeatLabel {
            id: seat.id,
            section: self.sections.name(section).to_owned(),
            row,
            seat_number: label.to_string(),
        }
    }

    /// The place of the seat with this id.
    pub fn place(&self, seat: SeatId) -> Option<usize> {
        self.seats.place(seat)
    }

    /// The ids as few runs: those of a concert are usually consecutive.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (first, last, place) in self.seats.bounds() {
            match runs.last_mut() {
                Some(run) if run.last.0.checked_add(1) == Some(first.0) => run.last = last,
                _ => runs.push(Run { first, last, place }),
            }
        }
        runs
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.seats.bytes() + self.sections.bytes() + self.prefixes.bytes()
    }

    /// Releases the memory that was reserved for further seats.
    pub fn shrink_to_fit(&mut self) {
        self.seats.shrink_to_fit();
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
        let of_a_row = |id, number| SeatLabel { row: 7, ..label(id, "side", number) };
        let seats = [
            of_a_row(-3, "S-9"),
            of_a_row(-2, "S-10"),
            of_a_row(-1, "S-11"),
            label(3, "vip", "V-1"),
            label(4, "front", ""),
            label(9, "vip", "ü-2"),
            label(10, "front", "F-1"),
        ];
        let mut layout = Layout::default();
        for seat in &seats {
            layout.push(seat);
        }
        for (place, seat) in seats.iter().enumerate() {
            assert_eq!((layout.place(seat.id), &layout.label(place)), (Some(place), seat));
        }
        assert_eq!((layout.len(), layout.place(SeatId(5))), (7, None));
        let run = |first, last, place| Run { first: SeatId(first), last: SeatId(last), place };
        assert_eq!(layout.runs(), [run(-3, -1, 0), run(3, 4, 3), run(9, 10, 5)]);
    }

    #[test]
    fn a_seat_of_a_row_takes_about_a_byte() {
        let mut layout = Layout::default();
        for id in 0..20_000 {
            let (row, number) = (id / 40, id % 40 + 1);
            layout.push(&SeatLabel { row, ..label(id, "front", &format!("F-{number}")) });
        }
        layout.shrink_to_fit();
        assert!(layout.bytes() < 2 * 20_000, "{}", layout.bytes());
    }
}
