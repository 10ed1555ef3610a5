//! The ranges of ids that the auditor and `hamro-api check` check, one after the other: how to find the next one, and what is wrong in it.
//!
//! Each range is checked in one snapshot. All statements find their rows by an index: a range of the primary key, or a
//! lookup for each of its rows. The lookups are lateral subqueries with a limit, which the planner does not turn into a
//! join that reads the whole other table.

use serde::{Deserialize, Serialize};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;

use super::finding::{Finding, Kind, NO_ID};

/// Rows in a range. Checking them takes a few milliseconds.
pub const ROWS: i64 = 2_000;

/// Where a pass is: the rows after this id are to be checked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    UniqueIndex,
    Seats(i32),
    Tiers(i32),
    Sales(i64),
    Bookings(Uuid),
}

impl Position {
    pub const START: Self = Self::UniqueIndex;

    /// The begin of the next table.
    fn next_table(self) -> Option<Self> {
        match self {
            Self::UniqueIndex => Some(Self::Seats(i32::MIN)),
            Self::Seats(_) => Some(Self::Tiers(i32::MIN)),
            Self::Tiers(_) => Some(Self::Sales(i64::MIN)),
            Self::Sales(_) => Some(Self::Bookings(Uuid::nil())),
            Self::Bookings(_) => None,
        }
    }

    /// The largest id of the same table.
    fn end(self) -> Self {
        match self {
            Self::UniqueIndex => self,
            Self::Seats(_) => Self::Seats(i32::MAX),
            Self::Tiers(_) => Self::Tiers(i32::MAX),
            Self::Sales(_) => Self::Sales(i64::MAX),
            Self::Bookings(_) => Self::Bookings(Uuid::max()),
        }
    }
}

/// The rows of one table after an id, up to another.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub from: Position,
    to: Position,
    /// How many rows are in it, about.
    pub rows: u64,
    is_last: bool,
}

impl Range {
    /// The next range from this position. The last one of a table has no end, so that it also contains what refers to rows
    /// that do not exist.
    pub async fn after(connection: &mut PgConnection, from: Position) -> Result<Self, sqlx::Error> {
        let (rows, last) = match from {
            Position::UniqueIndex => (0, None),
            Position::Seats(after) => {
                let range = sqlx::query!(
                    r#"
                    SELECT count(*) AS "rows!", max(id) AS last
                    FROM (SELECT id FROM seats WHERE id > $1 ORDER BY id LIMIT $2) range
                    "#,
                    after,
                    ROWS
                );
                let range = range.fetch_one(connection).await?;
                (range.rows, range.last.filter(|_| range.rows == ROWS).map(Position::Seats))
            }
            Position::Tiers(after) => {
                // As many tiers as have that many seats, but at least one.
                let range = sqlx::query!(
                    r#"
                    SELECT coalesce(sum(total), 0)::bigint AS "rows!", max(id) AS last
                    FROM (SELECT id, total, sum(total) OVER (ORDER BY id) - total AS seats_before
                          FROM (SELECT id, total FROM ticket_tiers WHERE id > $1 ORDER BY id LIMIT 200) next) range
                    WHERE seats_before < $2
                    "#,
                    after,
                    ROWS
                );
                let range = range.fetch_one(connection).await?;
                (range.rows, range.last.map(Position::Tiers))
            }
            Position::Sales(after) => {
                let range = sqlx::query!(
                    r#"
                    SELECT count(*) AS "rows!", max(id) AS last
                    FROM (SELECT id FROM sales WHERE id > $1 ORDER BY id LIMIT $2) range
                    "#,
                    after,
                    ROWS
                );
                let range = range.fetch_one(connection).await?;
                (range.rows, range.last.filter(|_| range.rows == ROWS).map(Position::Sales))
            }
            Position::Bookings(after) => {
                let range = sqlx::query!(
                    r#"
                    SELECT count(*) AS "rows!", (array_agg(ticket_id ORDER BY ticket_id DESC))[1] AS last
                    FROM (SELECT ticket_id FROM bookings WHERE ticket_id > $1 ORDER BY ticket_id LIMIT $2) range
                    "#,
                    after,
                    ROWS
                );
                let range = range.fetch_one(connection).await?;
                (range.rows, range.last.filter(|_| range.rows == ROWS).map(Position::Bookings))
            }
        };
        let rows = rows.try_into().unwrap_or_default();
        Ok(Self { from, to: last.unwrap_or_else(|| from.end()), rows, is_last: last.is_none() })
    }

    /// Where the pass goes on after this range; `None` at its end.
    pub fn next(&self) -> Option<Position> {
        if self.is_last { self.from.next_table() } else { Some(self.to) }
    }

    /// The seats among the rows.
    pub fn seats(&self) -> u64 {
        if matches!(self.from, Position::Seats(_)) { self.rows } else { 0 }
    }

    /// What is wrong in this range, in order. In a snapshot of its own, which only reads.
    pub async fn findings(&self, connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
        let mut transaction =
            connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        let findings = self.findings_in_snapshot(&mut transaction).await?;
        transaction.commit().await?;
        Ok(findings)
    }

    /// The same, in the snapshot of a running transaction.
    pub async fn findings_in_snapshot(
        &self,
        snapshot: &mut PgConnection,
    ) -> Result<Vec<Finding>, sqlx::Error> {
        let mut findings = match (self.from, self.to) {
            (Position::Seats(after), Position::Seats(last)) => seats(snapshot, after, last).await?,
            (Position::Tiers(after), Position::Tiers(last)) => tiers(snapshot, after, last).await?,
            (Position::Sales(after), Position::Sales(last)) => sales(snapshot, after, last).await?,
            (Position::Bookings(after), Position::Bookings(last)) => bookings(snapshot, after, last).await?,
            _ => unique_index(snapshot).await?,
        };
        findings.sort_unstable();
        Ok(findings)
    }
}

/// How many rows all ranges have, as the database's statistics estimate it: each seat twice, the second time for the counters
/// of its tier.
pub async fn expected_rows(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        r#"
        SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint AS "rows!"
        FROM unnest(ARRAY['seats', 'seats', 'sales', 'bookings']::regclass[]) AS checked (id)
        JOIN pg_class ON oid = id
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(rows.unsigned_abs())
}

async fn unique_index(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    // By what it guarantees: a later migration may replace it.
    let exists = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM pg_index index
            JOIN pg_attribute seat_id ON seat_id.attrelid = index.indrelid AND seat_id.attname = 'seat_id'
            WHERE index.indrelid = 'sale_seats'::regclass AND index.indisunique AND index.indisvalid
              AND index.indnkeyatts = 1 AND index.indkey[0] = seat_id.attnum
              AND pg_get_expr(index.indpred, index.indrelid) = '(released_at IS NULL)'
        ) AS "exists!"
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(if exists { Vec::new() } else { vec![Finding { kind: Kind::MissingUniqueIndex, id: NO_ID }] })
}

async fn seats(connection: &mut PgConnection, after: i32, last: i32) -> Result<Vec<Finding>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT coalesce(seat.id, live.seat_id) AS "id!", seat.id IS NOT NULL AS "exists!",
               seat.booked_at IS NOT NULL AS "is_marked!", coalesce(live.sales, 0) AS "sales!"
        FROM (SELECT id, booked_at FROM seats WHERE id > $1 AND id <= $2) seat
        FULL JOIN (SELECT seat_id, count(*) AS sales FROM sale_seats
                   WHERE released_at IS NULL AND seat_id > $1 AND seat_id <= $2 GROUP BY seat_id) live
            ON live.seat_id = seat.id
        WHERE seat.id IS NULL OR live.sales > 1 OR (seat.booked_at IS NOT NULL) <> (live.seat_id IS NOT NULL)
        "#,
        after,
        last
    )
    .fetch_all(connection)
    .await?;
    let mut findings = Vec::new();
    for row in rows {
        let mut find = |kind| findings.push(Finding { kind, id: row.id.into() });
        if row.sales > 1 {
            find(Kind::DoubleSoldSeat);
        }
        match (row.exists, row.is_marked, row.sales > 0) {
            (false, ..) => find(Kind::SaleOfMissingSeat),
            (true, true, false) => find(Kind::SeatMarkedWithoutSale),
            (true, false, true) => find(Kind::SaleOfFreeSeat),
            _ => {}
        }
    }
    Ok(findings)
}

async fn tiers(connection: &mut PgConnection, after: i32, last: i32) -> Result<Vec<Finding>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT tier.id
        FROM (SELECT id, total, available FROM ticket_tiers WHERE id > $1 AND id <= $2) tier
        CROSS JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE booked_at IS NULL) AS available
                            FROM seats WHERE ticket_tier_id = tier.id) counted
        WHERE tier.total <> counted.total OR tier.available <> counted.available
        "#,
        after,
        last
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(|id| Finding { kind: Kind::TierCounters, id: id.into() }).collect())
}

async fn sales(connection: &mut PgConnection, after: i64, last: i64) -> Result<Vec<Finding>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT coalesce(sale.id, sold.sale_id) AS "id!", sale.id IS NOT NULL AS "exists!",
               sold.sale_id IS NOT NULL AS "has_seats!", booking.found IS NOT NULL AS "has_booking!"
        FROM (SELECT id, ticket_id FROM sales WHERE id > $1 AND id <= $2) sale
        FULL JOIN (SELECT sale_id FROM sale_seats WHERE sale_id > $1 AND sale_id <= $2 GROUP BY sale_id) sold
            ON sold.sale_id = sale.id
        LEFT JOIN LATERAL (SELECT true AS found FROM bookings
                           WHERE ticket_id = sale.ticket_id AND status = 'confirmed' AND sale_id = sale.id
                           LIMIT 1) booking ON true
        WHERE sale.id IS NULL OR sold.sale_id IS NULL OR booking.found IS NULL
        "#,
        after,
        last
    )
    .fetch_all(connection)
    .await?;
    let mut findings = Vec::new();
    for row in rows {
        let mut find = |kind| findings.push(Finding { kind, id: row.id });
        if !row.exists {
            find(Kind::SoldSeatWithoutSale);
            continue;
        }
        if !row.has_seats {
            find(Kind::SaleWithoutSeats);
        }
        if !row.has_booking {
            find(Kind::SaleWithoutBooking);
        }
    }
    Ok(findings)
}

async fn bookings(
    connection: &mut PgConnection,
    after: Uuid,
    last: Uuid,
) -> Result<Vec<Finding>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT booking.sale_id AS "sale_id!"
        FROM bookings booking
        LEFT JOIN LATERAL (SELECT true AS found FROM sales WHERE id = booking.sale_id LIMIT 1) sale ON true
        WHERE booking.ticket_id > $1 AND booking.ticket_id <= $2 AND booking.sale_id IS NOT NULL
          AND sale.found IS NULL
        "#,
        after,
        last
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(|id| Finding { kind: Kind::BookingWithoutSale, id }).collect())
}
