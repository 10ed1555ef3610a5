//! The seats that each buyer wants. They depend only on the buyer's number and the seed of the run.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Scenario;
use crate::concert::Hall;
use crate::wire::Wish;

pub struct Wishes {
    pub scenario: Scenario,
    /// The maximum number of seats per buyer.
    pub party: usize,
    /// Whether every booking has its own idempotency key.
    pub keys: bool,
    pub seed: u64,
}

impl Wishes {
    pub fn of(&self, buyer: u64, hall: &Hall) -> Wish {
        let seats = match self.scenario {
            Scenario::HotSeat => hall.seats[..1].into(),
            Scenario::Rush | Scenario::Herd => self.some_neighbours(buyer, &hall.seats),
            Scenario::Spread | Scenario::Soak | Scenario::Replay | Scenario::Polls => {
                self.own(buyer, &hall.seats)
            }
        };
        let key = (self.keys || self.scenario == Scenario::Replay).then_some(0);
        Wish { buyer, seats, key }
    }

    /// The random number generator of this buyer.
    pub fn chance(&self, buyer: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ buyer.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// A random number of seats for this buyer.
    pub fn party(&self, chance: &mut StdRng) -> usize {
        chance.random_range(1..=self.party)
    }

    fn some_neighbours(&self, buyer: u64, seats: &[i32]) -> Box<[i32]> {
        let mut chance = self.chance(buyer);
        let party = self.party(&mut chance);
        let first = chance.random_range(0..=seats.len() - party);
        seats[first..first + party].into()
    }

    /// Seats that no other buyer wants.
    fn own(&self, buyer: u64, seats: &[i32]) -> Box<[i32]> {
        let first = usize::try_from(buyer).unwrap_or(usize::MAX).saturating_mul(self.party);
        seats[first..first + self.party].into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn hall(seats: i32) -> Hall {
        Hall { seats: (1..=seats).collect(), ..Hall::default() }
    }

    fn wishes(scenario: Scenario, party: usize) -> Wishes {
        Wishes { scenario, party, keys: false, seed: 7 }
    }

    #[test]
    fn a_spread_requests_every_seat_at_most_once() {
        let (wishes, hall) = (wishes(Scenario::Spread, 2), hall(200));
        let all: Vec<i32> = (0..100).flat_map(|buyer| wishes.of(buyer, &hall).seats).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 200);
    }

    #[test]
    fn a_rush_requests_every_seat_often_and_in_groups_of_all_sizes() {
        let (wishes, hall) = (wishes(Scenario::Rush, 4), hall(30));
        let all: Vec<Wish> = (0..1_000).map(|buyer| wishes.of(buyer, &hall)).collect();
        for seat in 1..=30 {
            assert!(all.iter().filter(|wish| wish.seats.contains(&seat)).count() > 10, "{seat}");
        }
        let parties: HashSet<usize> = all.iter().map(|wish| wish.seats.len()).collect();
        assert_eq!(parties, HashSet::from([1, 2, 3, 4]));
    }

    #[test]
    fn the_seats_of_a_buyer_depend_only_on_the_seed() {
        let hall = hall(300);
        let of = |seed| Wishes { seed, ..wishes(Scenario::Rush, 4) }.of(5, &hall);
        assert_eq!(of(1), of(1));
        assert!((2..20).any(|seed| of(seed) != of(1)));
    }
}
