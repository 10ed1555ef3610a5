//! Reads the seats of a concert from the database: all of them, or those that have changed since an earlier read.

use std::sync::Arc;

use futures_util::TryStreamExt;
use hamro_shared::domain::{ConcertId, SeatId, TierId, Timestamp};
use sqlx::postgres::PgConnection;

use super::seat_table::{SeatTable, SeatTableBuilder, StoredSeat};
use super::version::{SeatMapVersion, concert_exists};

/// A moment in the history of one server. What a read at this moment did not see was written by a transaction that is not
/// older than the oldest one that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// The oldest transaction that was running. `xmin` of a row names the one that wrote it.
    oldest_running: String,
    /// When the server was started: the transactions of another server have other numbers.
    server_started_at: String,
}

/// What a read has found.
pub struct StoredSeats {
    pub point: ReadPoint,
    pub version: SeatMapVersion,
    pub found: Found,
}

pub enum Found {
    /// There is no such concert, or it is hidden.
    NoConcert,
    All(Arc<SeatTable>),
    /// The seats that were written since, how many the concert has, and the revision of the table that has them.
    Changes {
        changed: Vec<StoredSeat>,
        count: usize,
        revision: u64,
    },
}

/// `SELECT … FROM seats`, followed by the rest of the query. None of a hidden concert.
macro_rules! select_seats {
    ($rest:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            StoredSeat,
            r#"
            SELECT id AS "id: SeatId", ticket_tier_id AS "tier: TierId", seat_number AS label, "row", section,
                   booked_at AS "booked_at: Timestamp", created_at AS "created_at: Timestamp",
                   updated_at AS "updated_at: Timestamp"
            FROM seats
            WHERE concert_id = $1 AND NOT EXISTS (SELECT FROM concerts WHERE id = $1 AND hidden)
            "# + $rest,
            $($argument),*
        )
    };
}

impl StoredSeats {
    /// Reads all seats. `revision` identifies the table.
    pub async fn load(
        connection: &mut PgConnection,
        concert: ConcertId,
        revision: u64,
    ) -> Result<Self, sqlx::Error> {
        // Point and version first: if a sale is committed between the queries, the seats are newer than both, and the
        // next read and the next comparison notice.
        let point = ReadPoint::now(connection).await?;
        let version = SeatMapVersion::load(connection, concert).await?;
        let mut table = SeatTableBuilder::with_capacity(version.total);
        let mut seats = select_seats!("ORDER BY id", concert as ConcertId).fetch(&mut *connection);
        while let Some(seat) = seats.try_next().await? {
            table.push(&seat);
        }
        drop(seats);
        let table = table.finish(revision);
        let is_found = table.total() > 0 || concert_exists(connection, concert).await?;
        Ok(Self {
            point,
            version,
            found: if is_found { Found::All(Arc::new(table)) } else { Found::NoConcert },
        })
    }

    /// Reads the seats that may have changed since the read at `since`, or all seats if that was on another server.
    pub async fn load_since(
        connection: &mut PgConnection,
        concert: ConcertId,
        since: &ReadPoint,
        revision: u64,
    ) -> Result<Self, sqlx::Error> {
        let point = ReadPoint::now(connection).await?;
        if point.server_started_at != since.server_started_at {
            return Self::load(connection, concert, revision).await;
        }
        let version = SeatMapVersion::load(connection, concert).await?;
        // `age` counts the transactions since then, and is right when their numbers wrap around.
        let changed =
            select_seats!("AND age(xmin) <= age($2::text::xid)", concert as ConcertId, since.oldest_running);
        let changed = changed.fetch_all(&mut *connection).await?;
        let count = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!" FROM seats
            WHERE concert_id = $1 AND NOT EXISTS (SELECT FROM concerts WHERE id = $1 AND hidden)
            "#,
            concert as ConcertId
        );
        let count = usize::try_from(count.fetch_one(connection).await?).unwrap_or_default();
        Ok(Self { point, version, found: Found::Changes { changed, count, revision } })
    }
}

impl ReadPoint {
    async fn now(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        sqlx::query_as!(
            Self,
            r#"
            SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text AS "oldest_running!",
                   pg_postmaster_start_time()::text AS "server_started_at!"
            "#
        )
        .fetch_one(connection)
        .await
    }
}
