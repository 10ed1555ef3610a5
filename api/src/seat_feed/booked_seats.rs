//! Which seats of a concert are booked: one bit per seat, in the order of their ids.

use hamro_shared::domain::SeatId;

use crate::seat_runs::SeatRuns;

/// The seats of a concert and a bitmap of those that are booked. It takes little more than that bit if most ids follow each
/// other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookedSeats {
    seats: SeatRuns<()>,
    /// Bit `i % 8` of byte `i / 8` says whether seat `i` is booked. The bits after the last seat are 0.
    bits: Box<[u8]>,
    available: usize,
}

impl BookedSeats {
    /// Seats in ascending order of their ids, each with whether it is booked.
    pub fn new(seats: impl Iterator<Item = (SeatId, bool)>) -> Self {
        let (mut runs, mut bits, mut available) = (SeatRuns::default(), Vec::new(), 0);
        for (index, (seat, is_booked)) in seats.enumerate() {
            runs.push(seat, None, ());
            if index % 8 == 0 {
                bits.push(0);
            }
            bits[index / 8] |= u8::from(is_booked) << (index % 8);
            available += usize::from(!is_booked);
        }
        runs.shrink_to_fit();
        Self { seats: runs, bits: bits.into(), available }
    }

    /// How many seats there are.
    pub fn total(&self) -> usize {
        self.seats.total()
    }

    pub fn available(&self) -> usize {
        self.available
    }

    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.seats.bytes() + self.bits.len()
    }

    pub fn has_same_seats(&self, other: &Self) -> bool {
        self.seats == other.seats
    }

    /// Whether a seat is booked; `None` if the concert has no such seat.
    pub fn is_booked(&self, seat: SeatId) -> Option<bool> {
        self.index(seat).map(|index| self.bit(index))
    }

    /// Returns whether this changes anything. Seats of other concerts are ignored.
    pub fn set(&mut self, seat: SeatId, is_booked: bool) -> bool {
        let Some(index) = self.index(seat) else { return false };
        if self.bit(index) == is_booked {
            return false;
        }
        self.bits[index / 8] ^= 1 << (index % 8);
        if is_booked {
            self.available -= 1;
        } else {
            self.available += 1;
        }
        true
    }

    /// All seats, each with whether it is booked.
    pub fn iter(&self) -> impl Iterator<Item = (SeatId, bool)> {
        self.seats.iter().enumerate().map(|(index, seat)| (seat.id, self.bit(index)))
    }

    fn index(&self, seat: SeatId) -> Option<usize> {
        self.seats.place(seat)
    }

    fn bit(&self, index: usize) -> bool {
        self.bits[index / 8] & (1 << (index % 8)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_per_seat_says_whether_it_is_booked_and_other_seats_are_ignored() {
        let mut seats = BookedSeats::new((0..10).map(|seat| (SeatId(10 * seat), seat == 9)));
        assert_eq!((seats.bits(), seats.available()), ([0, 0b10].as_slice(), 9));
        assert!(seats.set(SeatId(0), true));
        assert!(!seats.set(SeatId(0), true));
        assert!(!seats.set(SeatId(1), true));
        assert!(seats.set(SeatId(90), false));
        assert_eq!((seats.bits(), seats.available()), ([1, 0].as_slice(), 9));
        assert_eq!((seats.is_booked(SeatId(0)), seats.is_booked(SeatId(1))), (Some(true), None));
    }
}
