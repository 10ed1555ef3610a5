//! What an instance must know of a concert to reject bookings of its sold seats early: which seats are sold, to which keys, and
//! of which version of the concert that is true.
//!
//! A concert's `freed_version` changes in every transaction that frees, adds or removes seats, and in no sale. So as long as
//! history and version are the same, a seat that was sold is sold.

use futures_util::TryStreamExt;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::domain::{ConcertId, SaleKey, SeatId};
use crate::epoch::History;

/// The seats of one concert, as one snapshot of the database has them. All lists are in the order of the seats' ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcertSeats {
    pub history: History,
    pub freed_version: i64,
    /// All seats of the concert.
    pub seats: Vec<SeatId>,
    /// Those that are sold, each with the key of its sale. `Unknown` if there is no such sale: somebody has marked the seat by
    /// hand.
    pub sold: Vec<(SeatId, SaleKey)>,
    /// The keys of the sales that lost a seat by a release. A seat may occur several times, and need not be sold now.
    pub released: Vec<(SeatId, SaleKey)>,
}

/// The versions of several concerts, as one snapshot of the database has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreedVersions {
    pub history: History,
    /// Without concerts that do not exist.
    pub concerts: Vec<(ConcertId, i64)>,
}

/// Reads the seats of a concert in one snapshot. `None` if the concert does not exist, is hidden, or has no version because its
/// row was deleted.
///
/// 100 000 sold seats take about a second.
pub async fn load(
    connection: &mut PgConnection,
    concert: ConcertId,
) -> Result<Option<ConcertSeats>, sqlx::Error> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // Each sale is looked up by an index, whatever Postgres assumes about the size of the tables: it would scan one that was
    // empty when the statement was planned, once for each seat.
    sqlx::query("SET LOCAL enable_seqscan = off").execute(&mut *snapshot).await?;
    let Some((history, freed_version)) = version_of(&mut snapshot, concert).await? else {
        return Ok(None);
    };
    let (seats, sold) = seats_of(&mut snapshot, concert).await?;
    let released = released_of(&mut snapshot, concert).await?;
    snapshot.commit().await?;
    Ok(Some(ConcertSeats { history, freed_version, seats, sold, released }))
}

async fn version_of(
    connection: &mut PgConnection,
    concert: ConcertId,
) -> Result<Option<(History, i64)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        SELECT epoch, database_timeline() AS "timeline!", freed.version
        FROM concerts concert
        JOIN freed_versions freed ON freed.concert_id = concert.id
        CROSS JOIN installation_epoch
        WHERE concert.id = $1 AND NOT concert.hidden
        "#,
        concert as ConcertId
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (History { epoch: row.epoch, timeline: row.timeline }, row.version)))
}

/// A seat, and one of its sales if it has any.
struct SeatSale {
    seat: SeatId,
    is_sold: bool,
    /// `None` if there is no such sale.
    has_booking: Option<bool>,
    digest: Option<Vec<u8>>,
}

/// The seats of a concert in the order of their ids, joined with those of their sales whose `released_at` is as given.
macro_rules! select_sales {
    ($join:literal, $released_at:literal, $on:literal, $concert:expr) => {
        sqlx::query_as!(
            SeatSale,
            r#"
            SELECT seat.id AS "seat: SeatId", seat.booked_at IS NOT NULL AS "is_sold!", sale.has_booking AS "has_booking?",
                   sale.digest AS "digest?"
            FROM seats seat "# + $join + r#" LATERAL (
                SELECT booking.ticket_id IS NOT NULL AS has_booking, booking.idempotency_digest AS digest
                FROM sale_seats sold
                LEFT JOIN sales sale ON sale.id = sold.sale_id
                LEFT JOIN bookings booking ON booking.ticket_id = sale.ticket_id
                WHERE sold.seat_id = seat.id AND sold.released_at "# + $released_at + r#"
                OFFSET 0
            ) sale ON "# + $on + r#"
            WHERE seat.concert_id = $1
            ORDER BY seat.id
            "#,
            $concert as ConcertId
        )
    };
}

/// All seats, and the sold ones with their keys. The rows are read one at a time: a concert may have 100 000.
async fn seats_of(
    connection: &mut PgConnection,
    concert: ConcertId,
) -> Result<(Vec<SeatId>, Vec<(SeatId, SaleKey)>), sqlx::Error> {
    let mut rows =
        select_sales!("LEFT JOIN", "IS NULL", "seat.booked_at IS NOT NULL", concert).fetch(connection);
    let (mut seats, mut sold) = (Vec::new(), Vec::new());
    while let Some(row) = rows.try_next().await? {
        seats.push(row.seat);
        if row.is_sold {
            sold.push((row.seat, row.key()));
        }
    }
    Ok((seats, sold))
}

/// The seats that were released, with the keys of their earlier sales.
async fn released_of(
    connection: &mut PgConnection,
    concert: ConcertId,
) -> Result<Vec<(SeatId, SaleKey)>, sqlx::Error> {
    let rows = select_sales!("JOIN", "IS NOT NULL", "true", concert).fetch(connection);
    rows.map_ok(|row| (row.seat, row.key())).try_collect().await
}

impl SeatSale {
    /// A sale whose booking was lost may have had any key.
    fn key(&self) -> SaleKey {
        if self.has_booking == Some(true) {
            SaleKey::from_stored(self.digest.as_deref())
        } else {
            SaleKey::Unknown
        }
    }
}

/// Reads the versions of these concerts. One that differs from what was [loaded](load) means that the seats must be loaded again.
/// `None` if somebody has deleted the epoch.
pub async fn versions(
    connection: &mut PgConnection,
    concerts: &[ConcertId],
) -> Result<Option<FreedVersions>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        WITH history AS MATERIALIZED (
            SELECT epoch, database_timeline() AS timeline FROM installation_epoch
        )
        SELECT history.epoch AS "epoch!", history.timeline AS "timeline!",
               freed.concert_id AS "concert?: ConcertId", freed.version AS "version?"
        FROM history LEFT JOIN freed_versions freed ON freed.concert_id = ANY($1)
        "#,
        concerts as &[ConcertId]
    )
    .fetch_all(connection)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let history = History { epoch: first.epoch, timeline: first.timeline };
    let concerts = rows.iter().filter_map(|row| row.concert.zip(row.version)).collect();
    Ok(Some(FreedVersions { history, concerts }))
}

/// The concerts of those of the seats that exist and belong to concerts that are not hidden.
pub async fn concerts_of(
    connection: &mut PgConnection,
    seats: &[SeatId],
) -> Result<Vec<(SeatId, ConcertId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT seat.id AS "seat: SeatId", seat.concert_id AS "concert: ConcertId"
        FROM seats seat JOIN concerts concert ON concert.id = seat.concert_id
        WHERE seat.id = ANY($1) AND NOT concert.hidden
        "#,
        seats as &[SeatId]
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.seat, row.concert)).collect())
}
