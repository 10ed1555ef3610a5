//! What a batch announces to instances that reject early.

use hamro_shared::database::{MIGRATOR, sold_seats};
use hamro_shared::domain::{ConcertId, IdempotencyDigest, SaleKey, SeatId};
use hamro_shared::queue::AnnouncedSales;
use hamro_worker::settlement::batch::BookingCommand;
use hamro_worker::settlement::customer_limit::CustomerLimit;
use hamro_worker::settlement::executor::BatchExecutor;
use hamro_worker::settlement::lock_order::LockTurn;
use hamro_worker::settlement::seat_locks::Locking;
use hamro_worker::settlement::transaction;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{
    Readiness, batch, clock, command, command_with, count, refuse, seeded, sessions, ticket,
    wait_until_at_least,
};

async fn announced(pool: &PgPool, commands: &[BookingCommand]) -> Option<AnnouncedSales> {
    let mut connection = pool.acquire().await.unwrap();
    let (clock, locking, limit) = (clock(), Locking::default(), CustomerLimit::default());
    let batch = batch(commands);
    let turn = &mut LockTurn::default();
    transaction::settle(&mut connection, &clock, &locking, limit, &batch, turn).await.unwrap().announced
}

async fn concert_of(pool: &PgPool, seat: i32) -> ConcertId {
    let concert = sqlx::query_scalar("SELECT concert_id FROM seats WHERE id = $1").bind(seat);
    ConcertId(concert.fetch_one(pool).await.unwrap())
}

/// The announced seats of a concert, with their keys.
async fn seats_of(pool: &PgPool, sales: &AnnouncedSales, first_seat: i32) -> Vec<(SeatId, SaleKey)> {
    let concert = concert_of(pool, first_seat).await;
    let announced = sales.concerts.iter().find(|announced| announced.concert_id == concert).unwrap();
    announced.seats.iter().map(|(seat, digest)| (*seat, sales.key(*digest))).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_batch_announces_what_a_load_of_the_concert_reads_after_it(pool: PgPool) {
    seeded(&pool).await;
    let with_key = command_with(ticket(), "alice", &[101, 1], Some("k"));
    let digest = SaleKey::Digest(with_key.key_digest.map(IdempotencyDigest::short).unwrap());
    let retry = command_with(ticket(), "alice", &[101, 1], Some("k"));
    let commands =
        [with_key, retry, command("bob", &[2, 3]), command("carol", &[3, 4]), command("dave", &[999_999])];
    let sales = announced(&pool, &commands).await.unwrap();
    assert_eq!(sales.digest_version, IdempotencyDigest::VERSION);
    assert_eq!(sales.concerts.len(), 2);
    let first = [(SeatId(1), digest), (SeatId(2), SaleKey::None), (SeatId(3), SaleKey::None)];
    assert_eq!(seats_of(&pool, &sales, 1).await, first);
    assert_eq!(seats_of(&pool, &sales, 101).await, [(SeatId(101), digest)]);
    for announced in &sales.concerts {
        let mut connection = pool.acquire().await.unwrap();
        let loaded = sold_seats::load(&mut connection, announced.concert_id).await.unwrap().unwrap();
        assert_eq!((loaded.history, loaded.freed_version), (sales.history, announced.freed_version));
        let sold: Vec<_> = announced.seats.iter().map(|(seat, digest)| (*seat, sales.key(*digest))).collect();
        assert_eq!(loaded.sold, sold);
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_batch_that_sells_nothing_or_without_versions_announces_no_sales(pool: PgPool) {
    seeded(&pool).await;
    announced(&pool, &[command("alice", &[1])]).await.unwrap();
    assert_eq!(announced(&pool, &[command("bob", &[1]), command("bob", &[999_999])]).await, None);
    sqlx::raw_sql("DELETE FROM freed_versions").execute(&pool).await.unwrap();
    assert_eq!(announced(&pool, &[command("bob", &[2])]).await, None);
    sqlx::raw_sql("DELETE FROM installation_epoch").execute(&pool).await.unwrap();
    assert_eq!(announced(&pool, &[command("bob", &[3])]).await, None);
    assert_eq!(count(&pool, super::SALES).await, 3);
}

/// A release of the same seat comes before the batch or after it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_batch_that_waited_for_a_release_announces_the_version_after_it(pool: PgPool) {
    seeded(&pool).await;
    let before = announced(&pool, &[command("alice", &[1])]).await.unwrap().concerts[0].freed_version;
    let mut release = pool.begin().await.unwrap();
    let released = "UPDATE seats SET booked_at = NULL WHERE id = 1;
                    UPDATE seats SET free_from = NULL WHERE id = 1;
                    UPDATE sale_seats SET released_at = now();";
    sqlx::raw_sql(released).execute(&mut *release).await.unwrap();
    // The concert's version is read under the locks of the seats, so this cannot be the one from before the release.
    let sale = tokio::spawn({
        let pool = pool.clone();
        async move { announced(&pool, &[command("bob", &[1])]).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until_at_least(&pool, waiting, 1).await;
    release.commit().await.unwrap();
    let after = sale.await.unwrap().unwrap().concerts[0].freed_version;
    assert_eq!(after, before + 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn each_transaction_of_a_batch_that_was_split_announces_its_sales(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "bad", super::BAD_DATA).await;
    let commands =
        [command("alice", &[1]), command("bad", &[2]), command("carol", &[3]), command("dave", &[4])];
    let mut executor = BatchExecutor::new(sessions(&pool), clock(), Readiness::starting());
    let result =
        executor.settle(batch(&commands), LockTurn::default(), &CancellationToken::new()).await.unwrap();
    let mut seats: Vec<SeatId> =
        result.sales.iter().flat_map(|sales| &sales.concerts[0].seats).map(|(seat, _)| *seat).collect();
    seats.sort_unstable();
    assert_eq!(seats, [1, 3, 4].map(SeatId));
    assert!(result.sales.len() > 1);
}
