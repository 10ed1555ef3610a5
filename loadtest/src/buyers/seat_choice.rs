//! The seats that each buyer wants. They depend only on the buyer's number and the seed of the run.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::buyer_rng::buyer_rng;
use crate::scenario::Scenario;
use hamro_verification::catalogue::SeatPool;
use hamro_verification::contract::BookingIntent;

pub struct SeatChoice {
    pub scenario: Scenario,
    /// The maximum number of seats per buyer.
    pub group_size: usize,
    /// Whether every booking has its own idempotency key.
    pub keys: bool,
    pub seed: u64,
}

impl SeatChoice {
    pub fn of(&self, buyer: u64, seat_pool: &SeatPool) -> BookingIntent {
        let seats = match self.scenario {
            Scenario::HotSeat => seat_pool.seats[..1].into(),
            Scenario::Rush | Scenario::LiveMap | Scenario::Opening => {
                self.some_neighbours(buyer, &seat_pool.seats)
            }
            Scenario::Spread | Scenario::Soak | Scenario::Replay | Scenario::Polls => {
                self.exclusive(buyer, &seat_pool.seats)
            }
        };
        let key = (self.keys || self.scenario == Scenario::Replay).then_some(0);
        BookingIntent { buyer, seats, key }
    }

    /// A random number of seats for this buyer.
    pub fn group_size(&self, rng: &mut StdRng) -> usize {
        rng.random_range(1..=self.group_size)
    }

    fn some_neighbours(&self, buyer: u64, seats: &[i32]) -> Box<[i32]> {
        let mut rng = buyer_rng(self.seed, buyer);
        let group_size = self.group_size(&mut rng);
        let first = rng.random_range(0..=seats.len() - group_size);
        seats[first..first + group_size].into()
    }

    /// Seats that no other buyer wants.
    fn exclusive(&self, buyer: u64, seats: &[i32]) -> Box<[i32]> {
        let first = usize::try_from(buyer).unwrap_or(usize::MAX).saturating_mul(self.group_size);
        seats[first..first + self.group_size].into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn seat_pool(seats: i32) -> SeatPool {
        SeatPool { seats: (1..=seats).collect(), ..SeatPool::default() }
    }

    fn seat_choice(scenario: Scenario, group_size: usize) -> SeatChoice {
        SeatChoice { scenario, group_size, keys: false, seed: 7 }
    }

    #[test]
    fn a_spread_requests_every_seat_at_most_once() {
        let (seat_choice, seat_pool) = (seat_choice(Scenario::Spread, 2), seat_pool(200));
        let all: Vec<i32> = (0..100).flat_map(|buyer| seat_choice.of(buyer, &seat_pool).seats).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 200);
    }

    #[test]
    fn a_rush_requests_every_seat_often_and_in_groups_of_all_sizes() {
        let (seat_choice, seat_pool) = (seat_choice(Scenario::Rush, 4), seat_pool(30));
        let all: Vec<BookingIntent> = (0..1_000).map(|buyer| seat_choice.of(buyer, &seat_pool)).collect();
        for seat in 1..=30 {
            assert!(all.iter().filter(|intent| intent.seats.contains(&seat)).count() > 10, "{seat}");
        }
        let parties: HashSet<usize> = all.iter().map(|intent| intent.seats.len()).collect();
        assert_eq!(parties, HashSet::from([1, 2, 3, 4]));
    }

    #[test]
    fn the_seats_of_a_buyer_depend_only_on_the_seed() {
        let seat_pool = seat_pool(300);
        let of = |seed| SeatChoice { seed, ..seat_choice(Scenario::Rush, 4) }.of(5, &seat_pool);
        assert_eq!(of(1), of(1));
        assert!((2..20).any(|seed| of(seed) != of(1)));
    }
}
