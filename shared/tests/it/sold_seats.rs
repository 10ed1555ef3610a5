//! What an instance reads of a concert to reject bookings of its sold seats.

use std::time::Instant;

use hamro_shared::database::sold_seats::{ConcertSeats, concerts_of, load};
use hamro_shared::database::{MIGRATOR, seed};
use hamro_shared::domain::{ConcertId, KeyDigest, SaleKey, SeatId};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};

async fn execute(pool: &PgPool, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(pool).await.unwrap();
}

async fn seeded(pool: &PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
}

/// The concert of the seats 1 to 100.
async fn concert(pool: &PgPool) -> ConcertId {
    ConcertId(sqlx::query_scalar("SELECT concert_id FROM seats WHERE id = 1").fetch_one(pool).await.unwrap())
}

async fn loaded(pool: &PgPool) -> Option<ConcertSeats> {
    let concert = concert(pool).await;
    load(&mut pool.acquire().await.unwrap(), concert).await.unwrap()
}

/// Sells these seats as a worker does. `key` is the digest of the idempotency key, in hexadecimal digits.
fn sale(seats: &str, key: Option<&str>) -> String {
    let key = key.map_or("NULL".to_owned(), |key| format!("'\\x{key}'"));
    format!(
        "WITH sold AS (
             INSERT INTO sales (ticket_id, user_name, user_email, created_at)
             VALUES (gen_random_uuid(), 'alice', 'alice@example.com', now()) RETURNING *
         ), booked AS (
             INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id, idempotency_digest)
             SELECT ticket_id, 'confirmed', now(), ''::bytea, id, {key} FROM sold
         ), marked AS (
             UPDATE seats SET booked_at = now() WHERE id = ANY('{{{seats}}}')
         )
         INSERT INTO sale_seats (sale_id, position, seat_id, price)
         SELECT sold.id, place, seat.id, 1 FROM sold, unnest('{{{seats}}}'::integer[]) WITH ORDINALITY AS seat (id, place);"
    )
}

const KEY: &str = "0123456789abcdef0000000000000000";
const DIGEST: SaleKey = SaleKey::Digest(KeyDigest(0x0123_4567_89ab_cdef));
const RELEASE_ALL: &str = "UPDATE sale_seats SET released_at = now(); UPDATE seats SET booked_at = NULL WHERE booked_at IS NOT NULL;";

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_seats_of_a_concert_are_loaded_with_the_keys_of_their_sales(pool: PgPool) {
    seeded(&pool).await;
    let later_version = format!("{KEY}00");
    let statements = [
        // Released and not sold again, and released and sold to others.
        sale("5,6", Some("ffffffffffffffff0000000000000000")),
        RELEASE_ALL.to_owned(),
        sale("6", None),
        sale("2,1", Some(KEY)),
        sale("3", Some(&later_version)),
        // A booking that was lost; a seat that was marked by hand; a seat of another concert.
        sale("4", None),
        "DELETE FROM bookings WHERE sale_id = 5; UPDATE seats SET booked_at = now() WHERE id = 7;".to_owned(),
        sale("101", None),
    ];
    execute(&pool, &statements.concat()).await;
    let loaded = loaded(&pool).await.unwrap();
    let seat = |(id, key)| (SeatId(id), key);
    assert_eq!(loaded.seats, (1..=100).map(SeatId).collect::<Vec<_>>());
    let sold = [
        (1, DIGEST),
        (2, DIGEST),
        (3, SaleKey::Unknown),
        (4, SaleKey::Unknown),
        (6, SaleKey::None),
        (7, SaleKey::Unknown),
    ];
    assert_eq!(loaded.sold, sold.map(seat));
    let released = SaleKey::Digest(KeyDigest(u64::MAX));
    assert_eq!(loaded.released, [(5, released), (6, released)].map(seat));

    let concert = concert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let found = concerts_of(&mut connection, &[SeatId(7), SeatId(999_999)]).await.unwrap();
    assert_eq!(found, [(SeatId(7), concert)]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_concert_that_is_hidden_or_has_no_version_is_not_loaded(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, "UPDATE concerts SET hidden = true").await;
    assert_eq!(loaded(&pool).await, None);
    assert_eq!(concerts_of(&mut pool.acquire().await.unwrap(), &[SeatId(1)]).await.unwrap(), []);
    execute(&pool, "UPDATE concerts SET hidden = false; DELETE FROM freed_versions").await;
    assert_eq!(loaded(&pool).await, None);
}

/// 100 000 seats of one concert, each in a sale of its own, beside as many of another one.
const LARGE: &str = "
    ALTER TABLE seats SET (autovacuum_enabled = false); ALTER TABLE sales SET (autovacuum_enabled = false);
    ALTER TABLE sale_seats SET (autovacuum_enabled = false); ALTER TABLE bookings SET (autovacuum_enabled = false);
    INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section, booked_at)
    SELECT seats.concert_id, ticket_tier_id, 'N-' || n, 1, 'north', now() FROM seats, generate_series(1, 100000) n
    WHERE seats.id IN (1, 101);
    INSERT INTO sales (id, ticket_id, user_name, user_email, created_at, customer_digest)
    SELECT id, gen_random_uuid(), 'bob', 'bob@example.com', now(), '' FROM seats WHERE section = 'north';
    INSERT INTO sale_seats (sale_id, position, seat_id, price, seat_number) SELECT id, 0, id, 1, '' FROM sales;
    INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id, idempotency_digest)
    SELECT ticket_id, 'confirmed', now(), '', id, uuid_send(ticket_id) FROM sales;
    INSERT INTO concerts (title, artist, date, time, venue, city, image)
    SELECT 'Concert ' || n, '', '2099-12-31', '19:00', '', '', '' FROM generate_series(1, 5000) n;
    INSERT INTO freed_versions (concert_id) SELECT id FROM concerts ON CONFLICT DO NOTHING;";

/// The rows that sessions of this name have read by scans of whole tables.
async fn scanned(pool: &PgPool) -> i64 {
    let is_open = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                  WHERE datname = current_database() AND application_name = 'loader')";
    while sqlx::query_scalar::<_, bool>(is_open).fetch_one(pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    let scanned = "SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables
                   WHERE relname IN ('seats', 'sale_seats', 'sales', 'bookings', 'concerts', 'freed_versions')";
    sqlx::query_scalar(scanned).fetch_one(pool).await.unwrap()
}

/// Runs the statements on a session of the same name as the loaders.
async fn set_up(pool: &PgPool, statements: &'static str) {
    let options = (*pool.connect_options()).clone().application_name("loader");
    let mut session: PgConnection = options.connect().await.unwrap();
    sqlx::raw_sql(statements).execute(&mut session).await.unwrap();
    session.close().await.unwrap();
}

/// Both without statistics of the tables and with them, and on a session that planned the statements while the tables were empty.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hundred_thousand_sold_seats_are_loaded_in_seconds_and_no_table_is_scanned(pool: PgPool) {
    seeded(&pool).await;
    let concert = concert(&pool).await;
    let options = (*pool.connect_options()).clone().application_name("loader");
    let mut early: PgConnection = options.connect().await.unwrap();
    for _ in 0..6 {
        load(&mut early, concert).await.unwrap().unwrap();
    }
    sqlx::raw_sql(LARGE).execute(&mut early).await.unwrap();
    read_in_seconds(&mut early, concert).await;
    early.close().await.unwrap();
    for statements in ["", "ANALYZE"] {
        set_up(&pool, statements).await;
        let before = scanned(&pool).await;
        let mut session: PgConnection = options.connect().await.unwrap();
        read_in_seconds(&mut session, concert).await;
        session.close().await.unwrap();
        // Other tables have a few rows.
        let scanned = scanned(&pool).await - before;
        assert!(scanned < 10_000, "{scanned} rows");
    }
}

async fn read_in_seconds(session: &mut PgConnection, concert: ConcertId) {
    let began = Instant::now();
    let loaded = load(session, concert).await.unwrap().unwrap();
    assert_eq!((loaded.seats.len(), loaded.sold.len()), (100_100, 100_000));
    assert!(loaded.sold.iter().all(|(_, key)| matches!(key, SaleKey::Digest(_))));
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    concerts_of(session, &[SeatId(1)]).await.unwrap();
}
