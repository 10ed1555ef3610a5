//! Runs the bare statements of a worker's transaction in a temporary database with the system's schema: the upper limit
//! of the settle rate.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hamro_shared::config::Env;
use hamro_shared::database::migrate;
use hamro_shared::domain::Clock;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::batch::PreparedBatch;
use super::{BaselineResult, Stage};

/// Seats created per second of the measurement. A machine that sells them faster ends early.
const SEATS_A_SECOND: u64 = 100_000;

pub async fn measure(
    mut env: Env,
    duration: Duration,
    batch: usize,
    connections: usize,
) -> Result<BaselineResult> {
    ensure!(batch > 0 && connections > 0, "--batch and --connections must be at least 1");
    let url = env
        .variable("DATABASE_URL", "The server to measure.", "postgres://user:password@host:5432/database")
        .secret()
        .with_password("DATABASE_PASSWORD")
        .required();
    let server: PgConnectOptions = env.finish(url)?;
    let name = format!("hamro_baseline_{:x}", Clock::system().now().unix_millis());
    let mut outer = server.connect().await.context("connecting to DATABASE_URL")?;
    // The name was generated above and has only letters, digits and underscores.
    let create = format!("CREATE DATABASE {name}");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut outer)
        .await
        .context("creating the temporary database")?;
    let rate = in_database(server.database(&name), duration, batch, connections).await;
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&mut outer)
        .await
        .with_context(|| format!("dropping the temporary database {name}"))?;
    outer.close().await?;
    let what = format!("bare SQL, {batch} bookings per transaction, {connections} connections");
    Ok(BaselineResult { what, stage: Stage::Settle, bookings_per_second: rate? })
}

#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
async fn in_database(
    options: PgConnectOptions,
    duration: Duration,
    batch: usize,
    connections: usize,
) -> Result<f64> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    migrate(&mut *pool.acquire().await?).await?;
    let mut filling = pool.acquire().await?;
    let seats = fill(&mut filling, SEATS_A_SECOND * duration.as_secs().max(1)).await?;
    drop(filling);
    pool.close().await;

    let begin = Instant::now();
    let settling = seats.chunks(seats.len().div_ceil(connections)).map(|seats| {
        let options = options.clone();
        async move {
            let mut connection = options.connect().await?;
            let mut settled = 0;
            for seats in seats.chunks(batch) {
                if begin.elapsed() >= duration {
                    break;
                }
                let batch: Vec<[i32; 1]> = seats.iter().map(|seat| [*seat]).collect();
                PreparedBatch::new(&batch).settle(&mut connection).await?;
                settled += seats.len();
            }
            anyhow::Ok((settled, begin.elapsed()))
        }
    });
    let results = try_join_all(settling).await?;
    check(options.connect().await?, results.iter().map(|(settled, _)| settled).sum()).await?;
    // Each connection counts with its own time, because one that has sold all its seats ends early.
    Ok(results.iter().map(|(settled, elapsed)| *settled as f64 / elapsed.as_secs_f64()).sum())
}

/// Checks that all rows were written.
async fn check(mut connection: PgConnection, settled: usize) -> Result<()> {
    let written: i64 = sqlx::query_scalar(
        "SELECT least((SELECT count(*) FROM bookings), (SELECT count(*) FROM sales), (SELECT count(*) FROM sale_seats),
                      (SELECT count(*) FROM seats WHERE booked_at IS NOT NULL),
                      (SELECT sum(total - available) FROM ticket_tiers))",
    )
    .fetch_one(&mut connection)
    .await?;
    ensure!(
        usize::try_from(written) == Ok(settled),
        "{settled} bookings were settled, but {written} were written"
    );
    Ok(connection.close().await?)
}

/// Inserts a concert with three tiers and this many seats. Returns the seat ids.
async fn fill(connection: &mut PgConnection, seats: u64) -> Result<Vec<i32>> {
    sqlx::raw_sql(
        "INSERT INTO concerts (title, artist, date, time, venue, city, image)
         VALUES ('Baseline', 'Nobody', '2099-12-31', '19:00', 'Nowhere', 'Nowhere', 'https://example.com/nothing.jpg');
         INSERT INTO ticket_types (name) SELECT 'Baseline ' || n FROM generate_series(1, 3) n;
         INSERT INTO ticket_tiers (concert_id, ticket_type_id, price)
         SELECT concert.id, kind.id, 10 FROM concerts concert, ticket_types kind;",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section)
         SELECT tier.concert_id, tier.id, 'S-' || n, 1, 'baseline'
         FROM generate_series(1, $1) n JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS number FROM ticket_tiers) tier
              ON tier.number = n % 3
         ORDER BY n",
    )
    .bind(i64::try_from(seats)?)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE ticket_tiers t SET total = s.count, available = s.count
         FROM (SELECT ticket_tier_id, count(*) FROM seats GROUP BY ticket_tier_id) s WHERE s.ticket_tier_id = t.id",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *connection).await?;
    Ok(sqlx::query_scalar("SELECT id FROM seats ORDER BY id").fetch_all(connection).await?)
}
