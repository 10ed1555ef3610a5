use std::collections::HashSet;

use hamro_shared::domain::{BookingRequest, CustomerName};
use proptest::prelude::*;

use super::*;
use crate::settlement::allocation::tests::{CONCERT, command, ids, inventory, now, sold_seats, with_key};
use crate::settlement::allocation::{Decision, allocate};

const ADDRESSES: [&str; 4] =
    ["alice@example.com", "alice+1@example.com", "alice+2@example.com", "bob@example.com"];

fn digests(address: &str) -> CustomerDigests {
    CustomerDigests::of(&Email::parse(address).unwrap())
}

/// The booking, made with another address.
fn by(address: &str, command: BookingCommand) -> BookingCommand {
    let request = BookingRequest::new(
        CustomerName::parse("Alice").unwrap(),
        Email::parse(address).unwrap(),
        command.request.seat_ids().to_vec(),
        None,
    )
    .unwrap();
    BookingCommand { hash: request.hash(), request, ..command }
}

/// Twelve free seats of a concert with this limit.
fn limited(limit: u32, ignore_tags: bool) -> Inventory {
    let mut inventory = inventory(12, &[]);
    inventory.concerts.get_mut(&CONCERT).unwrap().seats_per_customer = Some(limit);
    inventory.holdings = Holdings::of(ignore_tags);
    inventory
}

fn reached(limit: u32, held_seats: Option<u32>) -> Decision {
    Decision::Reject(Rejection::LimitReached { concert_id: CONCERT, limit, held_seats })
}

/// What a batch is decided on.
#[derive(Clone, Debug)]
struct Case {
    commands: Vec<BookingCommand>,
    inventory: Inventory,
    /// What each of `ADDRESSES` has bought before.
    earlier: Vec<u32>,
    limit: u32,
    ignore_tags: bool,
}

impl Case {
    fn decide(&self) -> Vec<Decision> {
        allocate(&self.commands, self.inventory.clone(), PriorDecisions::default(), now())
    }

    /// The seats that the customer with this address held before the batch.
    fn held_before(&self, customer: CustomerDigest) -> u32 {
        let is_customer = |address: &&str| digests(address).customer(self.ignore_tags) == customer;
        ADDRESSES
            .iter()
            .zip(&self.earlier)
            .filter(|(address, _)| is_customer(address))
            .map(|(_, held)| held)
            .sum()
    }
}

prop_compose! {
    fn some_case()(
        wishes in proptest::collection::vec(
            (proptest::collection::btree_set(0_i32..14, 1..5), 0_usize..4, proptest::option::of(0_u8..4), 0_u32..40),
            1..60,
        ),
        sold in proptest::collection::btree_set(0_i32..12, 0..4),
        earlier in proptest::collection::vec(0_u32..4, 4),
        limit in 1_u32..7,
        ignore_tags in any::<bool>(),
    ) -> Case {
        let commands = wishes
            .into_iter()
            .map(|(seats, customer, key, number)| {
                let command = by(ADDRESSES[customer], command(number, &seats.into_iter().collect::<Vec<_>>()));
                match key {
                    Some(key) => with_key(command, &key.to_string()),
                    None => command,
                }
            })
            .collect();
        let mut inventory = limited(limit, ignore_tags);
        for seat in &sold {
            inventory.seats.get_mut(&SeatId(*seat)).unwrap().is_sold = true;
        }
        for (address, held) in ADDRESSES.iter().zip(&earlier) {
            inventory.holdings.add(CONCERT, digests(address), *held);
        }
        Case { commands, inventory, earlier, limit, ignore_tags }
    }
}

proptest! {
    #[test]
    fn no_customer_exceeds_the_limit(case in some_case()) {
        let mut sold: HashMap<CustomerDigest, u32> = HashMap::new();
        for (command, decision) in case.commands.iter().zip(case.decide()) {
            let customer = CustomerDigests::of(command.request.user_email()).customer(case.ignore_tags);
            *sold.entry(customer).or_default() += u32::try_from(sold_seats(&decision).len()).unwrap();
        }
        for (customer, sold) in sold {
            prop_assert!(sold == 0 || case.held_before(customer) + sold <= case.limit);
        }
    }

    #[test]
    fn a_booking_is_rejected_for_the_limit_exactly_when_it_would_exceed_it(case in some_case()) {
        let mut held: HashMap<CustomerDigest, u32> = HashMap::new();
        for (command, decision) in case.commands.iter().zip(case.decide()) {
            let customer = CustomerDigests::of(command.request.user_email()).customer(case.ignore_tags);
            let held = held.entry(customer).or_insert_with(|| case.held_before(customer));
            let requested = u32::try_from(command.request.seat_ids().len()).unwrap();
            match decision {
                Decision::Sell(_) => {
                    *held += requested;
                    prop_assert!(*held <= case.limit);
                }
                Decision::Reject(Rejection::LimitReached { limit, held_seats, .. }) => {
                    prop_assert_eq!(limit, case.limit);
                    prop_assert!(*held + requested > limit);
                    prop_assert_eq!(held_seats, (requested <= limit).then_some(*held));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn without_the_limit_only_bookings_that_were_rejected_for_it_end_otherwise(case in some_case()) {
        let limited = case.decide();
        let mut without = case.clone();
        without.inventory.concerts.get_mut(&CONCERT).unwrap().seats_per_customer = None;
        let first = limited.iter().position(|decision| {
            matches!(decision, Decision::Reject(Rejection::LimitReached { .. }))
        });
        // Until the first of them, all are decided as before.
        let same = first.unwrap_or(limited.len());
        prop_assert_eq!(&without.decide()[..same], &limited[..same]);
        prop_assert!(without.inventory.limited_customers(&case.commands, &PriorDecisions::default()).is_empty());
    }

    #[test]
    fn every_customer_whose_seats_are_counted_is_locked(case in some_case()) {
        let locked: HashSet<_> =
            case.inventory.limited_customers(&case.commands, &PriorDecisions::default()).into_iter().collect();
        for (command, decision) in case.commands.iter().zip(case.decide()) {
            let customer = (CONCERT, CustomerDigests::of(command.request.user_email()).mailbox);
            let is_counted = match decision {
                Decision::Sell(_) => true,
                Decision::Reject(Rejection::LimitReached { held_seats, .. }) => held_seats.is_some(),
                _ => false,
            };
            prop_assert!(!is_counted || locked.contains(&customer));
        }
    }
}

#[test]
fn the_bookings_of_a_customer_in_one_batch_are_counted_in_order() {
    let seats = [command(1, &[0, 1]), command(2, &[2, 3]), command(3, &[4]), command(4, &[5])];
    let decisions = allocate(&seats, limited(3, false), PriorDecisions::default(), now());
    assert_eq!(sold_seats(&decisions[0]), ids(&[0, 1]));
    assert_eq!(decisions[1], reached(3, Some(2)));
    assert_eq!(sold_seats(&decisions[2]), ids(&[4]));
    assert_eq!(decisions[3], reached(3, Some(3)));
}

#[test]
fn the_limit_is_judged_after_everything_else() {
    let mut inventory = limited(1, false);
    inventory.seats.get_mut(&SeatId(1)).unwrap().is_sold = true;
    let seats = [command(1, &[0, 1]), command(2, &[0, 99]), command(3, &[0, 2])];
    let locked = inventory.limited_customers(&seats, &PriorDecisions::default());
    assert!(locked.is_empty(), "nobody's seats need to be counted");
    let decisions = allocate(&seats, inventory, PriorDecisions::default(), now());
    assert!(matches!(decisions[0], Decision::Reject(Rejection::SeatsTaken { .. })));
    assert!(matches!(decisions[1], Decision::Reject(Rejection::SeatsNotFound { .. })));
    assert_eq!(decisions[2], reached(1, None), "what the address holds is not told");
}

#[test]
fn each_concert_of_a_booking_has_its_own_limit() {
    let other = ConcertId(uuid::Uuid::from_u128(2));
    let mut inventory = limited(1, false);
    let concert = super::super::Concert { available: 6, seats_per_customer: Some(2), ..Default::default() };
    inventory.concerts.insert(other, concert);
    for seat in 6..12 {
        inventory.seats.get_mut(&SeatId(seat)).unwrap().concert_id = other;
    }
    let seats = [command(1, &[0, 6, 7]), command(2, &[1, 8]), command(3, &[8])];
    assert_eq!(inventory.limited_customers(&seats, &PriorDecisions::default()).len(), 2);
    let decisions = allocate(&seats, inventory, PriorDecisions::default(), now());
    assert_eq!(sold_seats(&decisions[0]), ids(&[0, 6, 7]));
    assert_eq!(decisions[1], reached(1, Some(1)));
    let rejection = Rejection::LimitReached { concert_id: other, limit: 2, held_seats: Some(2) };
    assert_eq!(decisions[2], Decision::Reject(rejection));
}
