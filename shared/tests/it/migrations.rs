//! Migrations of databases that earlier versions have filled.

use std::borrow::Cow;

use hamro_shared::database::{MIGRATOR, migrate, tickets};
use hamro_shared::domain::{Outcome, TicketId};
use sqlx::PgPool;
use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use uuid::Uuid;

/// The last migration before seat labels became unique in their concert.
const BEFORE_LABELS: i64 = 20_261_127_000_001;

/// Brings the schema to the state of an earlier version.
async fn migrate_until(pool: &PgPool, version: i64) {
    let earlier = MIGRATOR.iter().filter(|migration| migration.version <= version).cloned().collect();
    let migrator = Migrator { migrations: Cow::Owned(earlier), ..Migrator::DEFAULT };
    migrator.run(pool).await.unwrap();
}

async fn run(pool: &PgPool, statements: &'static str) {
    sqlx::raw_sql(statements).execute(pool).await.unwrap();
}

/// Two concerts with two tiers each, without seats.
const CATALOGUE: &str = "
    INSERT INTO concerts (id, title, artist, date, time, venue, city, image)
    SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'Concert ' || n, 'A', '2030-01-01', '19:00', 'V', 'C', ''
    FROM generate_series(1, 2) n;
    INSERT INTO ticket_types (name) VALUES ('VIP'), ('GA');
    INSERT INTO ticket_tiers (id, concert_id, ticket_type_id, price)
    SELECT row_number() OVER (ORDER BY concert.id, kind.id), concert.id, kind.id, 10
    FROM concerts concert, ticket_types kind;";

/// Seats of the first concert's tiers 1 and 2, as earlier versions numbered them, and one seat of the second concert. Seats
/// 1, 4, 5 and 7 are sold. Seat 6 was sold and released.
const SEATS: &str = r#"
    INSERT INTO seats (id, concert_id, ticket_tier_id, seat_number, "row", section)
    SELECT seat.id, tier.concert_id, tier.id, seat.seat_number, 7, 'hall ' || tier.id
    FROM ticket_tiers tier JOIN (VALUES
        (1, 1, 'V-1'), (2, 1, 'V-2'), (3, 1, 'V-3'),
        (4, 2, 'V-1'), (5, 2, 'V-2'), (6, 2, 'V-3'), (7, 2, 'V-9'),
        (8, 1, 'Box'), (9, 2, 'Box'), (10, 1, 'V-12A'), (11, 2, 'V-12A'), (12, 3, 'V-1')
    ) AS seat (id, tier, seat_number) ON seat.tier = tier.id;
    UPDATE seats SET booked_at = '2026-11-01' WHERE id IN (1, 4, 5, 7);
    INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
    SELECT id, ('00000000-0000-0000-0000-0000000000' || lpad(id::text, 2, '0'))::uuid, 'Alice', 'alice@example.com', '2026-11-01'
    FROM seats WHERE id IN (1, 4, 5, 6, 7);
    INSERT INTO sale_seats (sale_id, position, seat_id, price, released_at)
    SELECT id, 0, id, 10, CASE id WHEN 6 THEN now() END FROM sales;
    INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
    SELECT ticket_id, 'confirmed', created_at, '\x00', id FROM sales;
    UPDATE ticket_tiers tier SET total = count, available = count - sold
    FROM (SELECT ticket_tier_id, count(*), count(booked_at) AS sold FROM seats GROUP BY 1) seat
    WHERE seat.ticket_tier_id = tier.id;"#;

/// The label of each seat, and whether it is marked.
async fn labels(pool: &PgPool) -> Vec<(i32, String, bool)> {
    sqlx::query_as("SELECT id, seat_number, has_legacy_label FROM seats ORDER BY id")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// The label on the ticket of this sale.
async fn label_on_ticket(pool: &PgPool, sale: u128) -> String {
    let ticket = TicketId(Uuid::from_u128(sale));
    let mut connection = pool.acquire().await.unwrap();
    let settled = tickets::find_settled(&mut connection, &[ticket]).await.unwrap().remove(0).unwrap();
    let Outcome::Confirmed { booking } = settled.outcome else { panic!("{:?}", settled.outcome) };
    let seat = &booking.seats[0];
    assert_eq!(booking.ticket_data[0].seat_numbers, [seat.seat_number.as_str()]);
    format!("{} {} {}", seat.section, seat.row, seat.seat_number)
}

#[sqlx::test]
async fn labels_become_unique_in_their_concert_and_no_sold_seat_is_renamed(pool: PgPool) {
    migrate_until(&pool, BEFORE_LABELS).await;
    run(&pool, CATALOGUE).await;
    run(&pool, SEATS).await;
    migrate(&mut pool.acquire().await.unwrap()).await.unwrap();

    let expected = [
        (1, "V-1", false),
        // Another seat with this label is sold.
        (2, "V-10", false),
        (3, "V-3", false),
        (4, "V-1", true),
        (5, "V-2", false),
        // Released, so it may be renamed.
        (6, "V-11", false),
        (7, "V-9", false),
        (8, "Box", false),
        (9, "Box-1", false),
        (10, "V-12A", false),
        (11, "V-12A-1", false),
        (12, "V-1", false),
    ];
    assert_eq!(labels(&pool).await, expected.map(|(id, label, legacy)| (id, label.to_owned(), legacy)));
    let duplicate = sqlx::raw_sql(
        r#"INSERT INTO seats (id, concert_id, ticket_tier_id, seat_number, "row", section)
           SELECT 100, concert_id, id, 'V-10', 1, 'hall' FROM ticket_tiers WHERE id = 2"#,
    );
    let error = duplicate.execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().and_then(DatabaseError::constraint), Some("seats_label"));
}

#[sqlx::test]
async fn earlier_sales_keep_the_labels_that_they_were_sold_with(pool: PgPool) {
    migrate_until(&pool, BEFORE_LABELS).await;
    run(&pool, CATALOGUE).await;
    run(&pool, SEATS).await;
    migrate(&mut pool.acquire().await.unwrap()).await.unwrap();
    run(&pool, "UPDATE seats SET seat_number = 'X-' || id, section = 'renamed', \"row\" = 99").await;
    for (sale, expected) in
        [(1, "hall 1 7 V-1"), (4, "hall 2 7 V-1"), (6, "hall 2 7 V-3"), (7, "hall 2 7 V-9")]
    {
        assert_eq!(label_on_ticket(&pool, sale).await, expected);
    }
}

#[sqlx::test]
async fn seat_maps_with_renamed_seats_have_a_new_version(pool: PgPool) {
    migrate_until(&pool, BEFORE_LABELS).await;
    run(&pool, CATALOGUE).await;
    run(&pool, SEATS).await;
    let versions = async || -> Vec<String> {
        sqlx::query_scalar("SELECT xmin::text FROM ticket_tiers ORDER BY id").fetch_all(&pool).await.unwrap()
    };
    let before = versions().await;
    migrate(&mut pool.acquire().await.unwrap()).await.unwrap();
    let changed: Vec<bool> = before.iter().zip(versions().await).map(|(one, other)| *one != other).collect();
    assert_eq!(changed, [true, true, false, false]);
}

#[sqlx::test]
async fn a_sale_by_a_worker_of_an_earlier_version_keeps_its_labels_too(pool: PgPool) {
    migrate_until(&pool, BEFORE_LABELS).await;
    run(&pool, CATALOGUE).await;
    run(&pool, SEATS).await;
    migrate(&mut pool.acquire().await.unwrap()).await.unwrap();
    run(
        &pool,
        "INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
         VALUES (8, '00000000-0000-0000-0000-000000000008', 'Bob', 'bob@example.com', now());
         INSERT INTO sale_seats (sale_id, position, seat_id, price) VALUES (8, 0, 8, 10);
         INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
         SELECT ticket_id, 'confirmed', created_at, '\\x00', id FROM sales WHERE id = 8;
         UPDATE seats SET seat_number = 'X-8', section = 'renamed' WHERE id = 8",
    )
    .await;
    assert_eq!(label_on_ticket(&pool, 8).await, "hall 1 7 Box");
}
