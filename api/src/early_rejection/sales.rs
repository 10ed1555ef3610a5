//! Which seats of a concert are sold, and under which idempotency keys, in nine bytes a seat.

use std::collections::HashMap;

use hamro_shared::domain::{KeyDigest, SaleKey};

use super::rule::SoldSeat;

/// The sales of a concert's seats, by the places of the seats in its layout.
#[derive(Debug)]
pub struct Sales {
    live: Box<[Live]>,
    /// The digests of the seats that are [`Live::Digest`].
    digests: Box<[KeyDigest]>,
    /// Earlier sales that were released. Few seats have any.
    released: HashMap<usize, Vec<SaleKey>>,
    sold: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    None,
    NoKey,
    Digest,
    Unknown,
}

impl Sales {
    /// None of these seats is sold.
    pub fn none(seats: usize) -> Self {
        Self {
            live: vec![Live::None; seats].into(),
            digests: vec![KeyDigest(0); seats].into(),
            released: HashMap::new(),
            sold: 0,
        }
    }

    /// Records a sale that was not released.
    pub fn mark(&mut self, place: usize, sale: SaleKey) {
        if self.live[place] == Live::None {
            self.sold += 1;
        }
        self.live[place] = match sale {
            SaleKey::None => Live::NoKey,
            SaleKey::Digest(digest) => {
                self.digests[place] = digest;
                Live::Digest
            }
            SaleKey::Unknown => Live::Unknown,
        };
    }

    /// Records a sale that was released.
    pub fn add_released(&mut self, place: usize, sale: SaleKey) {
        self.released.entry(place).or_default().push(sale);
    }

    pub fn is_sold(&self, place: usize) -> bool {
        self.live[place] != Live::None
    }

    /// The sales of the seat, if it is sold.
    pub fn of(&self, place: usize) -> Option<SoldSeat<'_>> {
        let live = match self.live[place] {
            Live::None => return None,
            Live::NoKey => SaleKey::None,
            Live::Digest => SaleKey::Digest(self.digests[place]),
            Live::Unknown => SaleKey::Unknown,
        };
        let released = self.released.get(&place).map(Vec::as_slice).unwrap_or_default();
        Some(SoldSeat { live, released })
    }

    /// How many seats are not sold.
    pub fn free(&self) -> usize {
        self.live.len() - self.sold
    }

    pub fn bytes(&self) -> usize {
        let released: usize = self.released.values().map(Vec::capacity).sum();
        let entry = size_of::<(usize, Vec<SaleKey>)>();
        self.live.len() * (size_of::<Live>() + size_of::<KeyDigest>())
            + released * size_of::<SaleKey>()
            + self.released.capacity() * entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_announced_twice_is_counted_once() {
        let mut sales = Sales::none(3);
        sales.mark(1, SaleKey::Unknown);
        sales.mark(1, SaleKey::Digest(KeyDigest(7)));
        sales.add_released(1, SaleKey::None);
        sales.add_released(2, SaleKey::Unknown);
        assert_eq!((sales.free(), sales.is_sold(0), sales.is_sold(1)), (2, false, true));
        let seat = sales.of(1).expect("it is sold");
        assert_eq!((seat.live, seat.released), (SaleKey::Digest(KeyDigest(7)), [SaleKey::None].as_slice()));
        assert!(sales.of(2).is_none());
        assert!(Sales::none(1_000).bytes() <= 9_000);
    }
}
