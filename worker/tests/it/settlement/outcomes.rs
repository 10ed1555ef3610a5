//! The outcomes of a batch: each ticket gets one, however often it is settled.

use super::*;

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_announced_outcome_equals_the_stored_one(pool: PgPool) {
    seeded(&pool).await;
    let commands = [
        command("alice", &[1, 21, 41]),
        command("bob", &[21]),
        command("carol", &[9_999]),
        command_with(
            Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() },
            "dave",
            &[2],
            None,
        ),
        command_with(ticket(), "erin", &[5, 4], Some("key")),
        command_with(ticket(), "erin", &[4, 5], Some("key")),
        command_with(ticket(), "erin", &[6], Some("key")),
    ];
    let mut announced = settle(&pool, &batch(&commands)).await.unwrap();
    announced.sort_by_key(|settled| settled.ticket_id);

    let ids: Vec<TicketId> = announced.iter().map(|settled| settled.ticket_id).collect();
    let mut connection = pool.acquire().await.unwrap();
    let read_back = tickets::find_settled(&mut connection, &ids).await.unwrap();
    assert_eq!(read_back, announced.iter().cloned().map(Ok).collect::<Vec<_>>());

    let outcomes = by_ticket(announced);
    let outcome = |n: usize| &outcomes[&commands[n].ticket.id];
    assert!(matches!(outcome(0), Outcome::Confirmed { booking } if booking.ticket_data.len() == 3));
    let label = SeatLabel { id: SeatId(21), section: "front".into(), row: 1, seat_number: "F-1".into() };
    let taken = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)], seats: vec![label] };
    assert_eq!(outcome(1), &Outcome::Rejected { rejection: taken });
    let missing = Rejection::SeatsNotFound {
        seat_ids: vec![SeatId(9_999)],
        seats: Some(Vec::new()),
        missing_concert_id: None,
    };
    assert_eq!(outcome(2), &Outcome::Rejected { rejection: missing });
    assert_eq!(outcome(3), &Outcome::Expired);
    assert_eq!(outcome(4), outcome(5));
    assert_eq!(outcome(6), &Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused });
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn renaming_moving_or_deleting_sold_seats_changes_no_outcome(pool: PgPool) {
    seeded(&pool).await;
    let (sold, refused) = (command("alice", &[21, 1, 101]), command("bob", &[1, 2]));
    let mut announced = settle(&pool, &batch(&[sold.clone(), refused.clone()])).await.unwrap();
    announced.sort_by_key(|settled| settled.ticket_id);
    let outcomes = by_ticket(announced.clone());
    let Outcome::Confirmed { booking } = &outcomes[&sold.ticket.id] else { panic!("{outcomes:?}") };
    let named: Vec<(i32, &str, i32, &str)> = booking
        .seats
        .iter()
        .map(|seat| (seat.id.0, seat.section.as_str(), seat.row, seat.seat_number.as_str()))
        .collect();
    assert_eq!(named, [(21, "front", 1, "F-1"), (1, "vip", 2, "V-1"), (101, "vip", 2, "V-1")]);

    for change in [
        "UPDATE seats SET seat_number = 'X-' || id, section = 'renamed', \"row\" = 99",
        "UPDATE seats SET ticket_tier_id = 2 WHERE id = 1",
        "ALTER TABLE seats DISABLE TRIGGER seats_sold; DELETE FROM concerts",
    ] {
        sqlx::raw_sql(change).execute(&pool).await.unwrap();
        let ids: Vec<TicketId> = announced.iter().map(|settled| settled.ticket_id).collect();
        let read_back = tickets::find_settled(&mut pool.acquire().await.unwrap(), &ids).await.unwrap();
        assert_eq!(read_back, announced.iter().cloned().map(Ok).collect::<Vec<_>>(), "{change}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_redelivered_batch_changes_nothing(pool: PgPool) {
    seeded(&pool).await;
    let batch = batch(&[command("alice", &[1, 2]), command("bob", &[2, 3]), command("carol", &[9_999])]);
    assert_eq!(settle(&pool, &batch).await.unwrap().len(), 3);
    assert_eq!(settle(&pool, &batch).await.unwrap(), []);
    assert_eq!(count(&pool, SALES).await, 1);
    assert_eq!(count(&pool, "SELECT available::bigint FROM ticket_tiers WHERE id = 1").await, 18);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn workers_that_settle_the_same_bookings_settle_each_once(pool: PgPool) {
    seeded(&pool).await;
    // Some of the seats do not exist, so that only the primary key separates the duplicates.
    let commands: Vec<BookingCommand> =
        (1..=40).map(|n| command(&format!("customer{n}"), &[n * 10 + 50])).collect();
    let settle = |mut commands: Vec<BookingCommand>, turn: usize| {
        let pool = pool.clone();
        async move {
            commands.rotate_left(turn);
            let mut settled = Vec::new();
            for half in commands.chunks(20) {
                settled.extend(settle_all(&pool, batch(half)).await);
            }
            settled
        }
    };
    let (one, two, three) = tokio::join!(
        tokio::spawn(settle(commands.clone(), 0)),
        tokio::spawn(settle(commands.clone(), 7)),
        tokio::spawn(settle(commands.clone(), 31))
    );
    let settled: Vec<SettledTicket> = [one, two, three].into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(settled.len(), 40, "each is announced by the one who settled it");
    assert_eq!(by_ticket(settled).len(), 40);
    assert_eq!(count(&pool, "SELECT count(*) FROM bookings").await, 40);
    assert_eq!(count(&pool, SALES).await, 25);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_in_a_later_batch_shares_the_outcome_and_an_expired_attempt_holds_no_key(pool: PgPool) {
    seeded(&pool).await;
    let expired = Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() };
    let tries = [
        command_with(expired, "alice", &[1], Some("key")),
        command_with(ticket(), "alice", &[1], Some("key")),
        command_with(ticket(), "alice", &[1], Some("key")),
        command_with(ticket(), "bob", &[1], Some("key")),
    ];
    let mut outcomes = Vec::new();
    for command in &tries {
        outcomes.push(settle(&pool, &batch(std::slice::from_ref(command))).await.unwrap().remove(0).outcome);
    }
    assert_eq!(outcomes[0], Outcome::Expired);
    assert!(matches!(outcomes[1], Outcome::Confirmed { .. }));
    assert_eq!(outcomes[2], outcomes[1]);
    assert!(matches!(outcomes[3], Outcome::Rejected { .. }), "another customer's key is another key");
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_shares_the_outcome_of_a_first_attempt_redelivered_in_its_batch(pool: PgPool) {
    seeded(&pool).await;
    let first = command_with(ticket(), "alice", &[1], Some("key"));
    let retry = command_with(ticket(), "alice", &[1], Some("key"));
    let sold = settle(&pool, &batch(std::slice::from_ref(&first))).await.unwrap().remove(0);
    let shared = settle(&pool, &batch(&[first, retry.clone()])).await.unwrap().remove(0);
    assert_eq!((shared.ticket_id, shared.outcome), (retry.ticket.id, sold.outcome));
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_fenced_off_ticket_cannot_be_sold(pool: PgPool) {
    seeded(&pool).await;
    let command = command("alice", &[1]);
    let fenced = expire(&pool, command.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    assert_eq!(fenced.outcome, Outcome::Expired);
    assert_eq!(settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap(), []);
    assert_eq!(count(&pool, SALES).await, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sold_ticket_cannot_be_fenced_off(pool: PgPool) {
    seeded(&pool).await;
    let command = command("alice", &[1]);
    let sold = settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap().remove(0);
    let found = expire(&pool, command.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    assert_eq!(found, sold);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_cannot_be_fenced_off_before_its_deadline_by_the_database_clock(pool: PgPool) {
    seeded(&pool).await;
    let command = command("alice", &[1]);
    let now: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
    let deadline = Timestamp::from(now) + Duration::from_mins(1);
    assert_eq!(expire(&pool, command.ticket.id, deadline).await, None);
    assert_eq!(settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap().len(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_database_rejects_a_seat_in_two_live_sales(pool: PgPool) {
    seeded(&pool).await;
    settle(&pool, &batch(&[command("alice", &[1])])).await.unwrap();
    // As if an operator had marked the seat as free.
    let freed =
        "UPDATE seats SET booked_at = NULL WHERE id = 1; UPDATE seats SET free_from = NULL WHERE id = 1";
    sqlx::raw_sql(freed).execute(&pool).await.unwrap();
    let error = settle(&pool, &batch(&[command("bob", &[1])])).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("sale_seats_live"));
    assert_eq!(ErrorClass::of(&error), ErrorClass::Unexplained);
}
