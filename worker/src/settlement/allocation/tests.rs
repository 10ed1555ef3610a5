use std::collections::HashSet;
use std::time::Duration;

use hamro_shared::domain::{CustomerName, IdempotencyKey, Ticket};
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;

pub(super) const CONCERT: ConcertId = ConcertId(Uuid::from_u128(1));

pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_795_364_062_341).unwrap()
}

/// The ticket numbered `n`, issued at `now()`.
fn ticket(n: u32) -> TicketId {
    let millis = u128::from(now().unix_millis().unsigned_abs());
    TicketId(Uuid::from_u128(millis << 80 | u128::from(n)))
}

pub(super) fn command(n: u32, seats: &[i32]) -> BookingCommand {
    let request = BookingRequest::new(
        CustomerName::parse("Alice").unwrap(),
        Email::parse("alice@example.com").unwrap(),
        seats.iter().copied().map(SeatId).collect(),
        None,
    )
    .unwrap();
    BookingCommand {
        ticket: Ticket { id: ticket(n), deadline: now() + Duration::from_mins(15) },
        hash: request.hash(),
        request,
        key_digest: None,
        earlier: Vec::new(),
        payload: "".into(),
        set_aside: 0,
        trace: None,
    }
}

pub(super) fn with_key(command: BookingCommand, key: &str) -> BookingCommand {
    let key = IdempotencyKey::new(key).unwrap().digest(command.request.user_email());
    BookingCommand { key_digest: Some(key), ..command }
}

/// Seats 0 to `count` in two tiers (even and odd); those in `sold` are sold.
pub(super) fn inventory(count: i32, sold: &[i32]) -> Inventory {
    let seat = |id: i32| Seat {
        concert_id: CONCERT,
        tier_id: TierId(id % 2),
        section: "hall".to_owned(),
        row: 1,
        number: format!("S-{id}"),
        is_sold: sold.contains(&id),
        free_from: None,
    };
    let price = |amount| Price::new(Decimal::from(amount)).unwrap();
    let available = (0..count).filter(|id| !sold.contains(id)).count();
    let concert = Concert { available: i64::try_from(available).unwrap(), ..Concert::default() };
    Inventory {
        seats: (0..count).map(|id| (SeatId(id), seat(id))).collect(),
        prices: [(TierId(0), price(50)), (TierId(1), price(10))].into(),
        concerts: [(CONCERT, concert)].into(),
        ..Inventory::default()
    }
}

pub(super) fn ids(seats: &[i32]) -> Vec<SeatId> {
    seats.iter().copied().map(SeatId).collect()
}

fn labels(seats: &[SeatId]) -> Vec<SeatLabel> {
    let label = |id: &SeatId| SeatLabel {
        id: *id,
        section: "hall".to_owned(),
        row: 1,
        seat_number: format!("S-{id}"),
    };
    seats.iter().map(label).collect()
}

fn allocate_into(inventory: Inventory, commands: &[BookingCommand]) -> Vec<Decision> {
    allocate(commands, inventory, PriorDecisions::default(), now())
}

pub(super) fn sold_seats(decision: &Decision) -> Vec<SeatId> {
    match decision {
        Decision::Sell(seats) => seats.iter().map(|seat| seat.label.id).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_released_seat_is_sold_only_to_tickets_that_are_issued_once_it_is_free() {
    for (milliseconds, is_sold) in [(-1_000, true), (0, true), (1, false), (3_000, false)] {
        let mut inventory = inventory(4, &[]);
        let free_from = Timestamp::from_unix_millis(now().unix_millis() + milliseconds).unwrap();
        inventory.seats.get_mut(&SeatId(1)).unwrap().free_from = Some(free_from);
        let decisions = allocate_into(inventory, &[command(1, &[1, 2]), command(2, &[2])]);
        let taken = Rejection::SeatsTaken { seat_ids: ids(&[1]), seats: labels(&ids(&[1])) };
        if is_sold {
            assert_eq!(sold_seats(&decisions[0]), ids(&[1, 2]), "{milliseconds}");
        } else {
            assert_eq!(decisions[0], Decision::Reject(taken), "{milliseconds}");
            assert_eq!(sold_seats(&decisions[1]), ids(&[2]));
        }
    }
}

prop_compose! {
    fn some_commands()(
        wishes in proptest::collection::vec(
            (proptest::collection::btree_set(0_i32..14, 1..5), proptest::option::of(0_u8..4), 0_u32..40),
            1..60,
        )
    ) -> Vec<BookingCommand> {
        wishes
            .into_iter()
            .map(|(seats, key, number)| {
                let command = command(number, &seats.into_iter().collect::<Vec<_>>());
                match key {
                    Some(key) => with_key(command, &key.to_string()),
                    None => command,
                }
            })
            .collect()
    }
}

prop_compose! {
    /// Twelve seats (so that 12 and 13 do not exist), some of them sold.
    fn some_sold()(sold in proptest::collection::btree_set(0_i32..12, 0..8)) -> Vec<i32> {
        sold.into_iter().collect()
    }
}

proptest! {
    #[test]
    fn no_seat_is_sold_twice(commands in some_commands(), sold in some_sold()) {
        let mut seen: HashSet<SeatId> = ids(&sold).into_iter().collect();
        for decision in allocate_into(inventory(12, &sold), &commands) {
            for seat in sold_seats(&decision) {
                prop_assert!(seen.insert(seat), "{seat} sold again");
            }
        }
    }

    #[test]
    fn a_booking_gets_all_of_its_seats_in_its_order_or_none(commands in some_commands(), sold in some_sold()) {
        for (command, decision) in commands.iter().zip(allocate_into(inventory(12, &sold), &commands)) {
            if matches!(decision, Decision::Sell(_)) {
                prop_assert_eq!(sold_seats(&decision), command.request.seat_ids());
            }
        }
    }

    #[test]
    fn earlier_bookings_are_served_first(commands in some_commands(), sold in some_sold()) {
        let mut gone: HashSet<SeatId> = ids(&sold).into_iter().collect();
        for (command, decision) in commands.iter().zip(allocate_into(inventory(12, &sold), &commands)) {
            let wanted = command.request.seat_ids();
            match &decision {
                Decision::Reject(Rejection::SeatsTaken { seat_ids, seats } | Rejection::SoldOut { seat_ids, seats }) => {
                    // Rejected for exactly those of its seats that were sold earlier.
                    let expected: Vec<SeatId> = wanted.iter().copied().filter(|seat| gone.contains(seat)).collect();
                    prop_assert_eq!(seat_ids, &expected);
                    prop_assert_eq!(seats, &labels(&expected));
                    prop_assert!(!expected.is_empty());
                }
                Decision::Reject(Rejection::SeatsNotFound { seat_ids, .. }) => {
                    prop_assert!(seat_ids.iter().all(|seat| seat.0 >= 12 && wanted.contains(seat)));
                }
                _ => gone.extend(sold_seats(&decision)),
            }
        }
    }

    #[test]
    fn sold_out_is_reported_exactly_when_no_seat_is_left(commands in some_commands(), sold in some_sold()) {
        let mut left = 12 - sold.len();
        for decision in allocate_into(inventory(12, &sold), &commands) {
            match &decision {
                Decision::Reject(Rejection::SoldOut { .. }) => prop_assert_eq!(left, 0),
                Decision::Reject(Rejection::SeatsTaken { .. }) => prop_assert!(left > 0),
                _ => left -= sold_seats(&decision).len(),
            }
        }
    }

    #[test]
    fn each_ticket_is_decided_once_whatever_the_duplicates(commands in some_commands(), sold in some_sold()) {
        let mut decided = HashSet::new();
        for (command, decision) in commands.iter().zip(allocate_into(inventory(12, &sold), &commands)) {
            let again = matches!(decision, Decision::AlreadySettled | Decision::TicketReused);
            prop_assert_eq!(again, !decided.insert(command.ticket.id));
        }
    }

    #[test]
    fn a_key_has_one_effect(commands in some_commands(), sold in some_sold()) {
        let mut first: HashMap<IdempotencyDigest, &BookingCommand> = HashMap::new();
        for (command, decision) in commands.iter().zip(allocate_into(inventory(12, &sold), &commands)) {
            let Some(key) = command.key_digest else { continue };
            match (&decision, first.get(&key)) {
                (Decision::AlreadySettled | Decision::TicketReused, _) => {}
                (Decision::ShareOutcomeOf(ticket), Some(first)) => {
                    prop_assert_eq!(*ticket, first.ticket.id);
                    prop_assert_eq!(command.hash, first.hash);
                }
                (Decision::Reject(Rejection::IdempotencyKeyReused), Some(first)) => {
                    prop_assert_ne!(command.hash, first.hash);
                }
                (_, Some(_)) => prop_assert!(false, "a used key had a second effect: {decision:?}"),
                (_, None) => {
                    if decision.holds_key() {
                        first.insert(key, command);
                    }
                }
            }
        }
    }
}

/// The booking, at this total.
fn at(total: &str, command: BookingCommand) -> BookingCommand {
    let request = command.request.expecting(Some(Amount::parse(total).unwrap()));
    BookingCommand { hash: request.hash(), request, ..command }
}

fn price_changed(total: &str, expected_total: &str) -> Decision {
    let amount = |text| Amount::parse(text).unwrap();
    let (total, expected_total) = (amount(total), amount(expected_total));
    Decision::Reject(Rejection::PriceChanged { total, expected_total })
}

proptest! {
    /// Of each booking the total that it expects is one of few, so that some are right.
    #[test]
    fn seats_are_sold_for_the_expected_total_or_not_at_all(
        commands in some_commands(),
        sold in some_sold(),
        expected in proptest::collection::vec(proptest::option::of(1_u32..20), 60),
    ) {
        let plain = allocate_into(inventory(12, &sold), &commands);
        let expecting: Vec<BookingCommand> = commands.iter().zip(&expected).map(|(command, tens)| match tens {
            Some(tens) => at(&format!("{tens}0"), command.clone()),
            None => command.clone(),
        }).collect();
        for (command, decision) in expecting.iter().zip(allocate_into(inventory(12, &sold), &expecting)) {
            let Some(expected_total) = command.request.expected_total() else {
                let is_price_changed = matches!(decision, Decision::Reject(Rejection::PriceChanged { .. }));
                prop_assert!(!is_price_changed);
                continue;
            };
            match decision {
                Decision::Sell(seats) => {
                    prop_assert_eq!(Amount::sum(seats.iter().map(|seat| seat.price)), expected_total);
                }
                Decision::Reject(Rejection::PriceChanged { total, expected_total: expected }) => {
                    prop_assert_ne!(total, expected);
                    prop_assert_eq!(expected, expected_total);
                }
                _ => {}
            }
        }
        // The first booking is decided the same but for its price.
        let first = allocate_into(inventory(12, &sold), &expecting[..1]).remove(0);
        match (&plain[0], first) {
            (Decision::Sell(_), first) => {
                let is_judged = matches!(first, Decision::Sell(_) | Decision::Reject(Rejection::PriceChanged { .. }));
                prop_assert!(is_judged);
            }
            (plain, first) => prop_assert_eq!(plain, &first),
        }
    }
}

#[test]
fn a_total_that_differs_is_reported_with_the_new_one_and_sells_nothing() {
    // Even seats cost 50, odd ones 10.
    let decisions = allocate_into(
        inventory(4, &[]),
        &[
            at("60", command(1, &[0, 1])),
            at("59.99", command(2, &[2, 3])),
            at("60.01", command(3, &[3, 2])),
            command(4, &[2, 3]),
        ],
    );
    assert_eq!(sold_seats(&decisions[0]), ids(&[0, 1]));
    assert_eq!(decisions[1], price_changed("60.00", "59.99"));
    assert_eq!(decisions[2], price_changed("60.00", "60.01"));
    assert_eq!(
        sold_seats(&decisions[3]),
        ids(&[2, 3]),
        "the seats stayed free, and this one agrees to any price"
    );
}

#[test]
fn the_price_is_judged_after_the_seats_and_before_the_limit() {
    let mut inventory = inventory(4, &[1]);
    inventory.concerts.get_mut(&CONCERT).unwrap().seats_per_customer = Some(1);
    let decisions = allocate_into(
        inventory,
        &[at("1", command(1, &[0, 9])), at("1", command(2, &[0, 1])), at("1", command(3, &[0, 2]))],
    );
    assert!(matches!(decisions[0], Decision::Reject(Rejection::SeatsNotFound { .. })));
    assert!(matches!(decisions[1], Decision::Reject(Rejection::SeatsTaken { .. })));
    assert_eq!(decisions[2], price_changed("100.00", "1.00"));
}

#[test]
fn a_seat_without_a_readable_price_is_sold_for_no_total() {
    let mut inventory = inventory(2, &[]);
    inventory.prices.remove(&TierId(1));
    let decisions = allocate_into(inventory, &[at("50", command(1, &[0, 1])), at("50", command(2, &[0]))]);
    assert_eq!(decisions[0], Decision::FailWithoutPrice(TierId(1)));
    assert_eq!(sold_seats(&decisions[1]), ids(&[0]));
}

#[test]
fn a_retry_of_a_sale_shares_it_whatever_the_seats_cost_now_and_another_total_is_another_request() {
    let first = with_key(at("50", command(1, &[0])), "k");
    let mut later = inventory(2, &[0]);
    later.prices.insert(TierId(0), Price::new(Decimal::from(99)).unwrap());
    let prior = PriorDecisions {
        keys: [(first.key_digest.unwrap(), (first.ticket.id, Some(first.hash)))].into(),
        ..PriorDecisions::default()
    };
    let commands = [
        with_key(at("50.00", command(2, &[0])), "k"),
        with_key(at("99", command(3, &[0])), "k"),
        with_key(command(4, &[0]), "k"),
    ];
    let decisions = allocate(&commands, later, prior, now());
    let reused = Decision::Reject(Rejection::IdempotencyKeyReused);
    assert_eq!(decisions, [Decision::ShareOutcomeOf(first.ticket.id), reused.clone(), reused]);
}

#[test]
fn a_booking_past_its_deadline_expires_even_if_its_seats_are_free() {
    let mut late = command(1, &[0]);
    late.ticket.deadline = Timestamp::from_unix_millis(now().unix_millis() - 1).unwrap();
    let on_time =
        BookingCommand { ticket: Ticket { deadline: now(), ..command(2, &[0]).ticket }, ..command(2, &[0]) };
    let decisions = allocate_into(inventory(2, &[]), &[late, on_time]);
    assert_eq!(decisions[0], Decision::Expire);
    assert_eq!(sold_seats(&decisions[1]), ids(&[0]));
}

#[test]
fn the_sales_window_is_judged_by_the_time_of_the_request() {
    let window = |opens: i64, closes: i64| {
        let moment = |offset: i64| Timestamp::from_unix_millis(now().unix_millis() + offset);
        let mut inventory = inventory(2, &[]);
        let concert = inventory.concerts.get_mut(&CONCERT).unwrap();
        concert.sales_open_at = moment(opens);
        concert.closes_at = moment(closes);
        // The batch is settled ten minutes later.
        let later = now() + Duration::from_mins(10);
        allocate(&[command(1, &[0])], inventory, PriorDecisions::default(), later).remove(0)
    };
    assert!(matches!(window(0, 1), Decision::Sell(_)));
    assert!(matches!(window(1, 2), Decision::Reject(Rejection::SaleNotOpen { .. })));
    assert!(matches!(window(-2, 0), Decision::Reject(Rejection::SaleClosed { .. })));
    assert!(matches!(window(1, 0), Decision::Reject(Rejection::SaleClosed { .. })));
}

/// The booking, with the concert that it names.
fn naming(command: BookingCommand, concert: ConcertId) -> BookingCommand {
    let BookingCommand { request, .. } = &command;
    let (name, email, seats) = (request.user_name(), request.user_email(), request.seat_ids());
    let request = BookingRequest::new(name.clone(), email.clone(), seats.to_vec(), Some(concert)).unwrap();
    BookingCommand { hash: request.hash(), request, ..command }
}

#[test]
fn seats_of_a_different_concert_are_not_found_and_are_named() {
    let elsewhere = ConcertId(Uuid::from_u128(2));
    let mut inventory = inventory(2, &[]);
    inventory.concerts.insert(elsewhere, Concert::default());
    let decisions = allocate_into(inventory, &[naming(command(1, &[0, 1, 9]), elsewhere)]);
    let (seat_ids, seats) = (ids(&[0, 1, 9]), Some(labels(&ids(&[0, 1]))));
    let rejection = Rejection::SeatsNotFound { seat_ids, seats, missing_concert_id: None };
    assert_eq!(decisions, [Decision::Reject(rejection)]);
}

#[test]
fn a_rejection_names_a_requested_concert_that_does_not_exist() {
    let missing = ConcertId(Uuid::from_u128(2));
    let wanted = [naming(command(1, &[8, 9]), missing), naming(command(2, &[8]), CONCERT), command(3, &[8])];
    let decisions = allocate_into(inventory(2, &[]), &wanted);
    let rejection = |seats: &[i32], missing_concert_id| {
        let (seat_ids, seats) = (ids(seats), Some(Vec::new()));
        Decision::Reject(Rejection::SeatsNotFound { seat_ids, seats, missing_concert_id })
    };
    assert_eq!(decisions, [rejection(&[8, 9], Some(missing)), rejection(&[8], None), rejection(&[8], None)]);
}

#[test]
fn the_seats_of_a_reserved_concert_exist_only_for_its_customer() {
    for (customer, is_sold) in [("alice@example.com", true), ("canary@canary.invalid", false)] {
        let mut inventory = inventory(2, &[]);
        inventory.reserved.insert(CONCERT, Email::parse(customer).unwrap());
        let decisions = allocate_into(inventory, &[naming(command(1, &[0]), CONCERT), command(2, &[1])]);
        if is_sold {
            assert_eq!(decisions.iter().flat_map(sold_seats).collect::<Vec<_>>(), ids(&[0, 1]));
        } else {
            // As if neither the seats nor the concert existed: the labels are not revealed either.
            let rejection = |seat, missing_concert_id| {
                let (seat_ids, seats) = (ids(&[seat]), Some(Vec::new()));
                Decision::Reject(Rejection::SeatsNotFound { seat_ids, seats, missing_concert_id })
            };
            assert_eq!(decisions, [rejection(0, Some(CONCERT)), rejection(1, None)]);
        }
    }
}

#[test]
fn prior_decisions_stand() {
    let prior = PriorDecisions {
        tickets: [
            (ticket(1), Some(command(1, &[0]).hash)),
            (ticket(2), None),
            (ticket(3), Some(command(3, &[1]).hash)),
        ]
        .into(),
        keys: HashMap::new(),
    };
    let commands = [command(1, &[0]), command(2, &[0]), command(3, &[0])];
    assert_eq!(
        allocate(&commands, inventory(2, &[]), prior, now()),
        [Decision::AlreadySettled, Decision::AlreadySettled, Decision::TicketReused]
    );
}

#[test]
fn an_expired_attempt_does_not_hold_its_key() {
    let mut late = with_key(command(1, &[0]), "k");
    late.ticket.deadline = Timestamp::from_unix_millis(0).unwrap();
    let decisions = allocate_into(inventory(2, &[]), &[late, with_key(command(2, &[0]), "k")]);
    assert_eq!(sold_seats(&decisions[1]), ids(&[0]));
}

#[test]
fn only_a_sale_or_a_taken_seat_holds_a_key() {
    let other = ConcertId(Uuid::from_u128(2));
    let attempts = |mut inventory: Inventory, first: BookingCommand| {
        let concert = Concert { available: 2, ..Concert::default() };
        inventory.concerts.insert(other, concert);
        let second = with_key(command(2, &[1]), "k");
        allocate_into(inventory, &[with_key(first, "k"), second])
    };
    let with_concert = |change: fn(&mut Concert)| {
        let mut inventory = inventory(3, &[]);
        // Seat 0 only.
        inventory.seats.get_mut(&SeatId(0)).unwrap().concert_id = other;
        let mut concert = Concert { available: 1, ..Concert::default() };
        change(&mut concert);
        (inventory, concert)
    };
    // A booking of another seat under the key that follows one of these is a new attempt.
    let (not_found, elsewhere) = (command(1, &[9]), naming(command(1, &[1]), other));
    for first in [not_found, elsewhere] {
        let decisions = attempts(inventory(3, &[]), first);
        assert!(matches!(decisions[0], Decision::Reject(Rejection::SeatsNotFound { .. })), "{decisions:?}");
        assert_eq!(sold_seats(&decisions[1]), ids(&[1]));
    }
    for change in [
        |concert: &mut Concert| concert.sales_open_at = Some(now() + Duration::from_secs(1)),
        |concert: &mut Concert| concert.closes_at = Some(now()),
        |concert: &mut Concert| concert.seats_per_customer = Some(0),
    ] {
        let (mut inventory, concert) = with_concert(change);
        inventory.concerts.insert(other, concert);
        let commands = [with_key(command(1, &[0]), "k"), with_key(command(2, &[1]), "k")];
        let decisions = allocate_into(inventory, &commands);
        assert!(matches!(decisions[0], Decision::Reject(_)), "{decisions:?}");
        assert_eq!(sold_seats(&decisions[1]), ids(&[1]));
    }
    // A booking of another seat that follows one of these uses a key twice.
    for first in [command(1, &[0]), command(1, &[2])] {
        let decisions = attempts(inventory(3, &[2]), first);
        assert_eq!(decisions[1], Decision::Reject(Rejection::IdempotencyKeyReused), "{decisions:?}");
    }
}

#[test]
fn a_seat_without_a_price_fails_its_booking_and_stays_free() {
    let mut inventory = inventory(4, &[]);
    inventory.prices.remove(&TierId(1));
    let decisions = allocate_into(inventory, &[command(1, &[0, 1]), command(2, &[0])]);
    assert_eq!(decisions[0], Decision::FailWithoutPrice(TierId(1)));
    assert_eq!(sold_seats(&decisions[1]), ids(&[0]));
}

#[test]
fn only_the_booking_of_a_locked_seat_is_deferred() {
    let inventory = Inventory { held: [SeatId(0)].into(), ..inventory(3, &[]) };
    let late = BookingCommand {
        ticket: Ticket { id: ticket(4), deadline: Timestamp::from_unix_millis(0).unwrap() },
        ..command(4, &[0])
    };
    let decisions = allocate_into(
        inventory,
        &[command(1, &[0, 1]), command(2, &[1]), command(1, &[0, 1]), late, command(5, &[9])],
    );
    assert_eq!(decisions[0], Decision::Defer);
    assert_eq!(sold_seats(&decisions[1]), ids(&[1]), "a deferred booking takes nothing");
    assert_eq!(decisions[2], Decision::Defer, "its duplicate does not count as settled");
    assert_eq!(decisions[3], Decision::Expire, "a held seat does not keep a deadline from passing");
    assert!(matches!(decisions[4], Decision::Reject(Rejection::SeatsNotFound { .. })));
}

#[test]
fn a_deferred_booking_defers_later_ones_under_its_key() {
    let inventory = Inventory { held: [SeatId(0)].into(), ..inventory(3, &[]) };
    let decisions = allocate_into(
        inventory,
        &[with_key(command(1, &[0]), "k"), with_key(command(2, &[1]), "k"), command(3, &[1])],
    );
    assert_eq!(decisions[..2], [Decision::Defer, Decision::Defer]);
    assert_eq!(sold_seats(&decisions[2]), ids(&[1]));
}
