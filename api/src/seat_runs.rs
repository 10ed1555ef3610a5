//! The seats of a concert in little memory. Those of a row usually have consecutive ids and numbers, and share everything else
//! that a sale does not change. So an instance keeps such runs of seats, and not each seat.

mod label;
mod names;

use hamro_shared::domain::SeatId;

pub use self::label::Label;
pub use self::names::Names;

/// Seats in the order of their ids. The place of a seat is its position among them, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatRuns<S> {
    runs: Vec<Run<S>>,
    seats: u32,
}

/// Seats whose ids, and numbers if they have any, follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run<S> {
    /// Of the first seat, as `first_id` and `first_number`.
    place: u32,
    first_id: SeatId,
    first_number: Option<u32>,
    shared: S,
}

/// A seat of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSeat<'a, S> {
    pub id: SeatId,
    pub number: Option<u32>,
    /// What the seats of its run have in common.
    pub shared: &'a S,
}

impl<S> Default for SeatRuns<S> {
    fn default() -> Self {
        Self { runs: Vec::new(), seats: 0 }
    }
}

impl<S: PartialEq> SeatRuns<S> {
    /// Adds a seat, whose id must be larger than those before it.
    pub fn push(&mut self, id: SeatId, number: Option<u32>, shared: S) {
        let follows = self.runs.last().is_some_and(|run| {
            let length = self.seats - run.place;
            let next_number = run.first_number.map(|first| first.checked_add(length));
            id.0.checked_sub(run.first_id.0).map(i64::from) == Some(i64::from(length))
                && number.map(Some) == next_number
                && shared == run.shared
        });
        if !follows {
            self.runs.push(Run { place: self.seats, first_id: id, first_number: number, shared });
        }
        self.seats += 1;
    }
}

impl<S> SeatRuns<S> {
    /// How many seats there are.
    pub fn total(&self) -> usize {
        self.seats as usize
    }

    /// The place of the seat with this id.
    pub fn place(&self, id: SeatId) -> Option<usize> {
        let index = self.runs.partition_point(|run| run.first_id <= id).checked_sub(1)?;
        let run = &self.runs[index];
        let offset = u32::try_from(i64::from(id.0) - i64::from(run.first_id.0)).ok()?;
        let place = run.place.checked_add(offset)?;
        (place < self.end(index)).then_some(place as usize)
    }

    /// The seat at this place, which exists.
    pub fn seat(&self, place: usize) -> RunSeat<'_, S> {
        let index = self.runs.partition_point(|run| run.place as usize <= place) - 1;
        let offset = u32::try_from(place).expect("there are fewer seats") - self.runs[index].place;
        self.runs[index].seat(offset)
    }

    /// All seats, in order.
    pub fn iter(&self) -> impl Iterator<Item = RunSeat<'_, S>> {
        self.iter_from(0)
    }

    /// The seat at this place and all after it, in order.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = RunSeat<'_, S>> {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let first = self.runs.partition_point(|run| run.place <= place).saturating_sub(1);
        self.runs.iter().enumerate().skip(first).flat_map(move |(index, run)| {
            let length = self.end(index) - run.place;
            (place.saturating_sub(run.place)..length).map(|offset| run.seat(offset))
        })
    }

    /// The first id, the last id and the first place of each run.
    pub fn bounds(&self) -> impl Iterator<Item = (SeatId, SeatId, usize)> {
        self.runs.iter().enumerate().map(|(index, run)| {
            let last = run.seat(self.end(index) - run.place - 1).id;
            (run.first_id, last, run.place as usize)
        })
    }

    /// How much memory the runs take.
    pub fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run<S>>()
    }

    /// Releases the memory that was reserved for further seats.
    pub fn shrink_to_fit(&mut self) {
        self.runs.shrink_to_fit();
    }

    /// The place after the last seat of a run.
    fn end(&self, index: usize) -> u32 {
        self.runs.get(index + 1).map_or(self.seats, |next| next.place)
    }
}

impl<S> Run<S> {
    fn seat(&self, offset: u32) -> RunSeat<'_, S> {
        RunSeat {
            id: SeatId(self.first_id.0.saturating_add_unsigned(offset)),
            number: self.first_number.map(|first| first + offset),
            shared: &self.shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn runs(seats: &[(i32, Option<u32>, u8)]) -> SeatRuns<u8> {
        let mut runs = SeatRuns::default();
        for (id, number, shared) in seats {
            runs.push(SeatId(*id), *number, *shared);
        }
        runs
    }

    proptest! {
        /// Few different values, so that seats often follow each other.
        #[test]
        fn every_seat_is_found_by_its_id_and_its_place(
            seats in prop::collection::btree_map(-20..20_i32, (prop::option::of(0..4_u32), 0..2_u8), 0..30)
        ) {
            let seats: Vec<_> = seats.into_iter().map(|(id, (number, shared))| (id, number, shared)).collect();
            let runs = runs(&seats);
            prop_assert_eq!(runs.total(), seats.len());
            let places: BTreeMap<i32, usize> = seats.iter().enumerate().map(|(place, seat)| (seat.0, place)).collect();
            for id in -25..25 {
                prop_assert_eq!(runs.place(SeatId(id)), places.get(&id).copied());
            }
            for (place, (id, number, shared)) in seats.iter().enumerate() {
                let seat = RunSeat { id: SeatId(*id), number: *number, shared };
                prop_assert_eq!(runs.seat(place), seat);
            }
            let iterated: Vec<_> = runs.iter().map(|seat| (seat.id.0, seat.number, *seat.shared)).collect();
            prop_assert_eq!(&iterated, &seats);
            for place in 0..=seats.len() {
                let iterated: Vec<i32> = runs.iter_from(place).map(|seat| seat.id.0).collect();
                let expected: Vec<i32> = seats[place..].iter().map(|seat| seat.0).collect();
                prop_assert_eq!(iterated, expected);
            }
            let bounds: Vec<i32> = runs.bounds().flat_map(|(first, last, _)| first.0..=last.0).collect();
            prop_assert_eq!(bounds, seats.iter().map(|seat| seat.0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn seats_of_a_row_share_a_run() {
        let row = |first, number: u32, shared| {
            (0..50_i32).map(move |n| (first + n, Some(number + n.unsigned_abs()), shared))
        };
        let seats: Vec<_> =
            row(1, 1, 0).chain(row(51, 1, 0)).chain(row(101, 51, 1)).chain(row(200, 101, 1)).collect();
        assert_eq!(runs(&seats).runs.len(), 4, "another number, another row, and a gap");
    }

    #[test]
    fn the_largest_ids_and_numbers_are_kept() {
        let seats = [
            (i32::MIN, Some(u32::MAX), 0),
            (i32::MAX - 1, Some(u32::MAX - 1), 0),
            (i32::MAX, Some(u32::MAX), 0),
        ];
        let runs = runs(&seats);
        for (place, (id, number, _)) in seats.iter().enumerate() {
            assert_eq!((runs.place(SeatId(*id)), runs.seat(place).number), (Some(place), *number));
        }
        assert_eq!((runs.place(SeatId(0)), runs.runs.len()), (None, 2));
    }
}
