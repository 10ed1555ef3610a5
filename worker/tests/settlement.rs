//! The transaction that settles a batch, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "settlement/rows.rs"]
mod rows;
#[path = "settlement/set_aside.rs"]
mod set_aside;
#[path = "settlement/stuck_seats.rs"]
mod stuck_seats;

use std::collections::HashMap;
use std::time::Duration;

use hamro_shared::database::{MIGRATOR, Sessions, seed, tickets};
use hamro_shared::domain::{
    BookingRequest, Clock, CustomerName, Email, IdempotencyKey, Outcome, Rejection, SeatId, SettledTicket,
    Ticket, TicketId, TicketKeys, Timestamp,
};
use hamro_shared::queue::Envelope;
use hamro_worker::batch::{Batch, DeadLetter, DeathReason, Order};
use hamro_worker::failure::Failure;
use hamro_worker::readiness::Readiness;
use hamro_worker::settlement::{self, Locking};
use hamro_worker::settler::{Settler, Stopped};
use hamro_worker::turn::Turn;
use sqlx::PgPool;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_795_364_062_341).unwrap()
}

fn clock() -> Clock {
    Clock::stopped_at(now())
}

fn ticket() -> Ticket {
    let keys = TicketKeys::parse(&"5e".repeat(32)).unwrap();
    Ticket { id: keys.issue(now()), deadline: now() + Duration::from_mins(15) }
}

fn order(customer: &str, seats: &[i32]) -> Order {
    ordered(ticket(), customer, seats, None)
}

fn ordered(ticket: Ticket, customer: &str, seats: &[i32], key: Option<&str>) -> Order {
    let request = BookingRequest::new(
        CustomerName::parse(customer).unwrap(),
        Email::parse(&format!("{customer}@example.com")).unwrap(),
        seats.iter().copied().map(SeatId).collect(),
        None,
    )
    .unwrap();
    let idempotency_key = key.map(|key| IdempotencyKey::new(key).unwrap());
    Order::new(Envelope { ticket, idempotency_key, request }, "{}")
}

fn batch(orders: &[Order]) -> Batch {
    Batch { orders: orders.to_vec(), dead_letters: Vec::new() }
}

/// One try.
async fn settle(pool: &PgPool, batch: &Batch) -> Result<Vec<SettledTicket>, sqlx::Error> {
    let mut connection = pool.acquire().await.unwrap();
    let locking = Locking::default();
    Ok(settlement::settle(&mut connection, &clock(), &locking, batch, &mut Turn::default()).await?.tickets)
}

/// As many tries as it takes.
async fn settle_all(pool: &PgPool, batch: Batch) -> Vec<SettledTicket> {
    let mut settler = Settler::new(sessions(pool), clock(), Readiness::starting());
    settler.settle(batch, Turn::default(), &CancellationToken::new()).await.unwrap().tickets
}

fn sessions(pool: &PgPool) -> Sessions {
    Sessions::new((*pool.connect_options()).clone(), &[])
}

async fn expire(pool: &PgPool, ticket: TicketId, deadline: Timestamp) -> Option<SettledTicket> {
    let found = tickets::expire(&mut pool.acquire().await.unwrap(), ticket, deadline).await.unwrap();
    found.map(|settled| settled.unwrap())
}

async fn seeded(pool: &PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
}

fn by_ticket(settled: Vec<SettledTicket>) -> HashMap<TicketId, Outcome> {
    settled.into_iter().map(|ticket| (ticket.ticket_id, ticket.outcome)).collect()
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn wait_until_at_least(pool: &PgPool, query: &'static str, expected: i64) {
    let mut ticks = interval(Duration::from_millis(20));
    while count(pool, query).await < expected {
        ticks.tick().await;
    }
}

/// What a value that the database cannot hold is refused with.
const BAD_DATA: &str = "22021";

/// Makes the database refuse bookings of customers called like this, with this SQLSTATE.
async fn refuse(pool: &PgPool, name: &str, code: &str) {
    let statements = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_name LIKE '{name}%') EXECUTE FUNCTION refuse();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

const DEAD_LETTERS: &str = "SELECT count(*) FROM dead_letters";
const SALES: &str = "SELECT count(*) FROM sales";
const FAILED: &str = "SELECT count(*) FROM bookings WHERE status = 'failed'";

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_announced_is_what_is_read_back(pool: PgPool) {
    seeded(&pool).await;
    let orders = [
        order("alice", &[1, 21, 41]),
        order("bob", &[21]),
        order("carol", &[9_999]),
        ordered(Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() }, "dave", &[2], None),
        ordered(ticket(), "erin", &[5, 4], Some("key")),
        ordered(ticket(), "erin", &[4, 5], Some("key")),
        ordered(ticket(), "erin", &[6], Some("key")),
    ];
    let mut announced = settle(&pool, &batch(&orders)).await.unwrap();
    announced.sort_by_key(|settled| settled.ticket_id);

    let ids: Vec<TicketId> = announced.iter().map(|settled| settled.ticket_id).collect();
    let mut connection = pool.acquire().await.unwrap();
    let read_back = tickets::find_settled(&mut connection, &ids).await.unwrap();
    assert_eq!(read_back, announced.iter().cloned().map(Ok).collect::<Vec<_>>());

    let outcomes = by_ticket(announced);
    let outcome = |n: usize| &outcomes[&orders[n].ticket.id];
    assert!(matches!(outcome(0), Outcome::Confirmed { booking } if booking.ticket_data.len() == 3));
    let taken = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)] };
    assert_eq!(outcome(1), &Outcome::Rejected { rejection: taken });
    let missing = Rejection::SeatsNotFound { seat_ids: vec![SeatId(9_999)] };
    assert_eq!(outcome(2), &Outcome::Rejected { rejection: missing });
    assert_eq!(outcome(3), &Outcome::Expired);
    assert_eq!(outcome(4), outcome(5));
    assert_eq!(outcome(6), &Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused });
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_batch_that_comes_again_changes_nothing(pool: PgPool) {
    seeded(&pool).await;
    let batch = batch(&[order("alice", &[1, 2]), order("bob", &[2, 3]), order("carol", &[9_999])]);
    assert_eq!(settle(&pool, &batch).await.unwrap().len(), 3);
    assert_eq!(settle(&pool, &batch).await.unwrap(), []);
    assert_eq!(count(&pool, SALES).await, 1);
    assert_eq!(count(&pool, "SELECT available::bigint FROM ticket_tiers WHERE id = 1").await, 18);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn workers_with_the_same_bookings_in_hand_settle_each_once(pool: PgPool) {
    seeded(&pool).await;
    // Some of the seats do not exist, so that nothing but the primary key stands between the twins.
    let orders: Vec<Order> = (1..=40).map(|n| order(&format!("customer{n}"), &[n * 10 + 50])).collect();
    let settle = |mut orders: Vec<Order>, turn: usize| {
        let pool = pool.clone();
        async move {
            orders.rotate_left(turn);
            let mut settled = Vec::new();
            for half in orders.chunks(20) {
                settled.extend(settle_all(&pool, batch(half)).await);
            }
            settled
        }
    };
    let (one, two, three) = tokio::join!(
        tokio::spawn(settle(orders.clone(), 0)),
        tokio::spawn(settle(orders.clone(), 7)),
        tokio::spawn(settle(orders.clone(), 31))
    );
    let settled: Vec<SettledTicket> = [one, two, three].into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(settled.len(), 40, "each is announced by the one who settled it");
    assert_eq!(by_ticket(settled).len(), 40);
    assert_eq!(count(&pool, "SELECT count(*) FROM bookings").await, 40);
    assert_eq!(count(&pool, SALES).await, 25);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_in_a_later_batch_shares_the_outcome_and_an_expired_try_holds_no_key(pool: PgPool) {
    seeded(&pool).await;
    let expired = Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() };
    let tries = [
        ordered(expired, "alice", &[1], Some("key")),
        ordered(ticket(), "alice", &[1], Some("key")),
        ordered(ticket(), "alice", &[1], Some("key")),
        ordered(ticket(), "bob", &[1], Some("key")),
    ];
    let mut outcomes = Vec::new();
    for order in &tries {
        outcomes.push(settle(&pool, &batch(std::slice::from_ref(order))).await.unwrap().remove(0).outcome);
    }
    assert_eq!(outcomes[0], Outcome::Expired);
    assert!(matches!(outcomes[1], Outcome::Confirmed { .. }));
    assert_eq!(outcomes[2], outcomes[1]);
    assert!(matches!(outcomes[3], Outcome::Rejected { .. }), "another customer's key is another key");
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_shares_the_outcome_of_a_first_try_that_comes_again_in_its_batch(pool: PgPool) {
    seeded(&pool).await;
    let first = ordered(ticket(), "alice", &[1], Some("key"));
    let retry = ordered(ticket(), "alice", &[1], Some("key"));
    let sold = settle(&pool, &batch(std::slice::from_ref(&first))).await.unwrap().remove(0);
    let shared = settle(&pool, &batch(&[first, retry.clone()])).await.unwrap().remove(0);
    assert_eq!((shared.ticket_id, shared.outcome), (retry.ticket.id, sold.outcome));
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_that_was_fenced_off_cannot_be_sold(pool: PgPool) {
    seeded(&pool).await;
    let order = order("alice", &[1]);
    let fenced = expire(&pool, order.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    assert_eq!(fenced.outcome, Outcome::Expired);
    assert_eq!(settle(&pool, &batch(std::slice::from_ref(&order))).await.unwrap(), []);
    assert_eq!(count(&pool, SALES).await, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_that_was_sold_cannot_be_fenced_off(pool: PgPool) {
    seeded(&pool).await;
    let order = order("alice", &[1]);
    let sold = settle(&pool, &batch(std::slice::from_ref(&order))).await.unwrap().remove(0);
    let found = expire(&pool, order.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    assert_eq!(found, sold);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_whose_deadline_has_not_passed_by_the_clock_of_the_database_cannot_be_fenced_off(
    pool: PgPool,
) {
    seeded(&pool).await;
    let order = order("alice", &[1]);
    let now: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
    let deadline = Timestamp::from(now) + Duration::from_mins(1);
    assert_eq!(expire(&pool, order.ticket.id, deadline).await, None);
    assert_eq!(settle(&pool, &batch(std::slice::from_ref(&order))).await.unwrap().len(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_that_comes_with_another_request_is_kept_as_a_dead_letter(pool: PgPool) {
    seeded(&pool).await;
    let first = order("alice", &[1]);
    let forged = ordered(first.ticket, "mallory", &[2], None);
    let sold = settle(&pool, &batch(&[first, forged.clone()])).await.unwrap();
    assert_eq!(sold.len(), 1);
    assert_eq!(settle(&pool, &batch(&[forged])).await.unwrap(), []);
    assert_eq!(count(&pool, "SELECT count(*) FROM dead_letters WHERE reason = 'ticket-reused'").await, 1);
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_that_the_database_refuses_fails_alone(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "culprit", BAD_DATA).await;
    let mut orders: Vec<Order> = (1..=20).map(|n| order(&format!("customer{n}"), &[n])).collect();
    orders.insert(13, order("culprit", &[30]));
    let settled = by_ticket(settle_all(&pool, batch(&orders)).await);
    assert_eq!(settled.len(), 21);
    assert_eq!(settled[&orders[13].ticket.id], Outcome::Failed);
    assert_eq!(count(&pool, SALES).await, 20);
    let kept: (uuid::Uuid, String) =
        sqlx::query_as("SELECT ticket_id, reason FROM dead_letters").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, (orders[13].ticket.id.0, "refused-by-database".to_owned()));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn many_refusals_in_a_row_stop_the_worker_instead_of_failing_everybody(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "customer", BAD_DATA).await;
    let orders: Vec<Order> = (1..=20).map(|n| order(&format!("customer{n}"), &[n])).collect();
    let worker = tokio::spawn({
        let (pool, batch) = (pool.clone(), batch(&orders));
        async move { settle_all(&pool, batch).await }
    });
    wait_until_at_least(&pool, FAILED, 3).await;
    // It has stopped there; once the cause is removed it goes on with the rest.
    sqlx::raw_sql("DROP TRIGGER refuse ON bookings").execute(&pool).await.unwrap();
    assert_eq!(worker.await.unwrap().len(), 20);
    assert_eq!(count(&pool, FAILED).await, 3);
    assert_eq!(count(&pool, SALES).await, 17);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_counter_that_has_drifted_stops_the_worker_and_costs_no_customer_a_booking(pool: PgPool) {
    seeded(&pool).await;
    sqlx::raw_sql("UPDATE ticket_tiers SET available = 0").execute(&pool).await.unwrap();
    let readiness = Readiness::untroubled();
    let mut settler = Settler::new(sessions(&pool), clock(), readiness.clone());
    let worker = tokio::spawn(async move {
        let batch = batch(&[order("alice", &[1]), order("bob", &[2])]);
        settler.settle(batch, Turn::default(), &CancellationToken::new()).await.unwrap().tickets
    });
    let mut ticks = interval(Duration::from_millis(20));
    while readiness.reason().is_none() {
        ticks.tick().await;
    }
    assert_eq!(count(&pool, "SELECT count(*) FROM bookings").await, 0);
    sqlx::raw_sql("UPDATE ticket_tiers SET available = total").execute(&pool).await.unwrap();
    let settled = worker.await.unwrap();
    assert!(settled.iter().all(|ticket| matches!(ticket.outcome, Outcome::Confirmed { .. })), "{settled:?}");
    assert_eq!(readiness.reason(), None);
    assert_eq!(count(&pool, DEAD_LETTERS).await, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_unreadable_envelope_fails_its_ticket_once_however_often_it_comes(pool: PgPool) {
    seeded(&pool).await;
    let ticket = ticket().id;
    let letter = DeadLetter::new(
        Some(ticket),
        DeathReason::UnreadableEnvelope,
        "unknown kind \0",
        b"{\"kind\":\"\0\"}",
    );
    let batch = Batch { orders: vec![order("alice", &[1])], dead_letters: vec![letter.clone(), letter] };
    let settled = by_ticket(settle(&pool, &batch).await.unwrap());
    assert_eq!(settled[&ticket], Outcome::Failed);
    assert_eq!(settle(&pool, &batch).await.unwrap(), []);
    assert_eq!(count(&pool, DEAD_LETTERS).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_database_itself_refuses_a_seat_in_two_live_sales(pool: PgPool) {
    seeded(&pool).await;
    settle(&pool, &batch(&[order("alice", &[1])])).await.unwrap();
    // As if somebody had marked the seat free by hand.
    sqlx::raw_sql("UPDATE seats SET booked_at = NULL WHERE id = 1").execute(&pool).await.unwrap();
    let error = settle(&pool, &batch(&[order("bob", &[1])])).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("sale_seats_live"));
    assert_eq!(Failure::of(&error), Failure::Unexplained);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_error_of_the_database_is_classed_by_what_it_says_of_the_booking(pool: PgPool) {
    for (code, table, class) in [
        ("40001", "", Failure::Transient),
        ("40P01", "", Failure::Transient),
        ("55P03", "", Failure::Transient),
        ("57014", "", Failure::Transient),
        ("57P01", "", Failure::Transient),
        ("08006", "", Failure::Transient),
        ("22021", "bookings", Failure::BadData),
        ("22P05", "", Failure::BadData),
        ("22001", "", Failure::Unexplained),
        ("2200H", "", Failure::Unexplained),
        ("23514", "bookings", Failure::Unexplained),
        ("23502", "sales", Failure::Unexplained),
        ("23505", "sales", Failure::Unexplained),
        ("23514", "ticket_tiers", Failure::Unexplained),
        ("23505", "sale_seats", Failure::Unexplained),
        ("42P01", "", Failure::Systemic),
        ("P0001", "", Failure::Unexplained),
        ("HV00X", "", Failure::Unexplained),
        ("53100", "", Failure::Systemic),
        ("25006", "", Failure::Transient),
        ("28P01", "", Failure::Systemic),
    ] {
        let raise =
            format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}', TABLE = '{table}'; END $$");
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&pool).await.unwrap_err();
        assert_eq!(Failure::of(&error), class, "{code} on {table:?}");
    }
    for constraint in ["bookings_pkey", "bookings_idempotency"] {
        let raise = format!(
            "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '23505', TABLE = 'bookings', CONSTRAINT = '{constraint}'; END $$"
        );
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&pool).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Transient, "{constraint}");
    }
    assert_eq!(Failure::of(&sqlx::Error::PoolTimedOut), Failure::Transient);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn four_culprits_in_a_batch_cost_the_others_nothing(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "culprit", BAD_DATA).await;
    let mut orders: Vec<Order> = (1..=4).map(|n| order(&format!("culprit{n}"), &[n])).collect();
    orders.push(order("alice", &[5]));
    let settled = by_ticket(settle_all(&pool, batch(&orders)).await);
    assert_eq!(settled.len(), 5);
    assert_eq!(count(&pool, FAILED).await, 4);
    assert!(matches!(settled[&orders[4].ticket.id], Outcome::Confirmed { .. }));
}

/// Tickets, in the order of the orders.
fn ids(orders: &[Order]) -> Vec<TicketId> {
    orders.iter().map(|order| order.ticket.id).collect()
}

/// A settler, what it says of itself, and what asks it to stop.
fn settler(pool: &PgPool) -> (Settler, Readiness, CancellationToken) {
    let readiness = Readiness::untroubled();
    let settler = Settler::new(sessions(pool), clock(), readiness.clone());
    (settler, readiness, CancellationToken::new())
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_settler_that_waits_for_the_database_stops_when_it_is_asked_to(pool: PgPool) {
    sqlx::raw_sql("DROP TABLE bookings").execute(&pool).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let mut settler = Settler::new(sessions(&pool), clock(), Readiness::starting());
    let two = batch(&[order("alice", &[1]), order("bob", &[2])]);
    assert_eq!(settler.settle(two, Turn::default(), &stop).await.unwrap_err(), Stopped);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_settler_whose_connection_is_killed_goes_on_with_another(pool: PgPool) {
    seeded(&pool).await;
    let options = (*pool.connect_options()).clone().application_name("victim");
    let mut settler = Settler::new(Sessions::new(options, &[]), clock(), Readiness::starting());
    let stop = CancellationToken::new();
    let sold = settler.settle(batch(&[order("alice", &[1])]), Turn::default(), &stop).await.unwrap();
    assert_eq!(sold.tickets.len(), 1);
    let killed =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'victim'";
    assert_eq!(count(&pool, killed).await, 1);
    let sold = settler.settle(batch(&[order("bob", &[2])]), Turn::default(), &stop).await.unwrap();
    assert_eq!(sold.tickets.len(), 1);
}
