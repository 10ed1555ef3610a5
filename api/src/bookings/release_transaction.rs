//! The two transactions that release seats of a booking.
//!
//! The first takes the seats out of the sale and changes the `freed_version` of their concerts. Until the second is committed,
//! nobody can have them. The second makes them free for tickets that are issued at least [`FREE_AFTER`] later, by the database's
//! clock. An instance may reject bookings of a seat early for a second after the first commit, because its last comparison of
//! versions began before. So this time must count from the commit, and a transaction does not know when it will be committed.
//!
//! Both take their locks in the order of the workers: seats in the order of their ids, then tiers, then versions. So a release
//! waits for a sale in progress or the sale waits for it, and neither deadlocks. Which seats the booking still has is read under
//! the locks. The booking keeps its row, its sale and its idempotency key: a retry shares the same sale.

use hamro_shared::database::tickets;
use hamro_shared::domain::{ConcertId, SeatId, TicketId, TierId};
use hamro_shared::queue::{FreedSeat, Release};
use serde_json::json;
use sqlx::postgres::PgConnection;

use crate::http::admin_auth::AdminName;
use crate::http::problem::{Problem, ProblemCode};

/// How long a released seat is not sold, in seconds.
const FREE_AFTER: f64 = 3.0;

/// What the first transaction has done.
pub struct Released {
    pub release: Release,
    /// The release to [finish](finish_release); `None` if no seat was released.
    pub unfinished: Option<ReleaseId>,
}

/// The number of a row of `releases`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct ReleaseId(i64);

/// What an administrator wants to release.
pub struct ReleaseOrder {
    pub ticket: TicketId,
    /// `None`: all seats of the booking.
    pub seats: Option<Vec<SeatId>>,
    pub reason: String,
    pub by: AdminName,
}

/// The first transaction: releases the seats, or returns what is wrong with the order. Seats that are already released stay so.
pub async fn begin_release(
    connection: &mut PgConnection,
    order: ReleaseOrder,
) -> Result<Result<Released, Problem>, sqlx::Error> {
    let sale = match find_sale(connection, order.ticket).await? {
        Ok(sale) => sale,
        Err(problem) => return Ok(Err(problem)),
    };
    let wanted = match wanted_seats(&order, &sale) {
        Ok(wanted) => wanted,
        Err(problem) => return Ok(Err(problem)),
    };
    let locked = lock_seats(connection, &wanted).await?;
    let live = live_seats(connection, &sale, &locked).await?;
    let mut unfinished = None;
    if !live.is_empty() {
        add_to_tiers(connection, &live).await?;
        lock_versions(connection, &live).await?;
        unfinished = Some(take_from_sale(connection, &order, &sale, &live).await?);
    }
    let tickets = tickets_of(connection, &sale).await?;
    let settled = tickets::find_settled(connection, &tickets).await?.into_iter().flatten().collect();
    let seats = live.iter().map(|seat| FreedSeat { concert_id: seat.concert_id, seat_id: seat.id });
    Ok(Ok(Released { release: Release { tickets: settled, seats: seats.collect() }, unfinished }))
}

/// The second transaction, after the first is committed: makes the seats free. Returns how many, or 0 if that was done before.
pub async fn finish_release(connection: &mut PgConnection, release: ReleaseId) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT id FROM seats
        WHERE id = ANY((SELECT seat_ids FROM releases WHERE id = $1 AND NOT is_finished)::integer[])
        ORDER BY id
        FOR UPDATE
        "#,
        release as ReleaseId
    )
    .fetch_all(&mut *connection)
    .await?;
    // Waits for nothing: the seats are locked, and who finishes a release locks its seats first.
    let freed = sqlx::query!(
        r#"
        WITH moment AS MATERIALIZED (
            SELECT clock_timestamp() + make_interval(secs => $2) AS free_from
        ), finished AS (
            UPDATE releases SET is_finished = true, free_from = moment.free_from FROM moment
            WHERE id = $1 AND NOT is_finished
            RETURNING seat_ids, moment.free_from
        )
        UPDATE seats SET free_from = finished.free_from
        FROM finished
        WHERE seats.id = ANY(finished.seat_ids) AND seats.free_from = '9999-12-31 00:00+00'
        "#,
        release as ReleaseId,
        FREE_AFTER
    )
    .execute(connection)
    .await?;
    Ok(freed.rows_affected())
}

/// The sale of a booking.
struct Sale {
    id: i64,
    /// The ticket that was sold. Retries share its outcome.
    ticket: TicketId,
    /// All its seats, also those that were released, in the order of the request.
    seats: Vec<SeatId>,
}

async fn find_sale(
    connection: &mut PgConnection,
    ticket: TicketId,
) -> Result<Result<Sale, Problem>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT booking.status, sale.id AS "sale_id?", sale.ticket_id AS "ticket_id?: TicketId",
               sold.seat_id AS "seat_id?: SeatId"
        FROM bookings booking
        LEFT JOIN sales sale ON sale.id = booking.sale_id
        LEFT JOIN sale_seats sold ON sold.sale_id = sale.id
        WHERE booking.ticket_id = $1
        ORDER BY sold.position
        "#,
        ticket as TicketId
    )
    .fetch_all(connection)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(Err(not_confirmed("The booking is still in the queue. Wait until its status is final.")));
    };
    let (Some(id), Some(ticket)) = (first.sale_id, first.ticket_id) else {
        let detail =
            format!("The booking is {}: it has no seats, and there is nothing to release.", first.status);
        return Ok(Err(not_confirmed(detail)));
    };
    Ok(Ok(Sale { id, ticket, seats: rows.iter().filter_map(|row| row.seat_id).collect() }))
}

fn not_confirmed(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::NotConfirmed, detail.into())
}

/// The seats to release, all of which belong to the booking.
fn wanted_seats(order: &ReleaseOrder, sale: &Sale) -> Result<Vec<SeatId>, Problem> {
    let Some(wanted) = &order.seats else { return Ok(sale.seats.clone()) };
    let others: Vec<SeatId> = wanted.iter().copied().filter(|seat| !sale.seats.contains(seat)).collect();
    if others.is_empty() {
        return Ok(wanted.clone());
    }
    let listed: Vec<String> = others.iter().map(|SeatId(id)| id.to_string()).collect();
    let detail = format!("must be seats of this booking, but names {}", listed.join(", "));
    Err(Problem::invalid_field("seatIds", detail).with("seatIds", json!(others)))
}

struct LockedSeat {
    id: SeatId,
    concert_id: ConcertId,
    tier_id: TierId,
}

/// Locks the seats in the order of their ids, as workers do.
async fn lock_seats(connection: &mut PgConnection, seats: &[SeatId]) -> Result<Vec<LockedSeat>, sqlx::Error> {
    sqlx::query_as!(
        LockedSeat,
        r#"
        SELECT id AS "id: SeatId", concert_id AS "concert_id: ConcertId", ticket_tier_id AS "tier_id: TierId"
        FROM seats
        WHERE id = ANY($1)
        ORDER BY id
        FOR UPDATE
        "#,
        seats as &[SeatId]
    )
    .fetch_all(connection)
    .await
}

/// Those of the locked seats that the sale still has. A statement of its own, because one that waits for locks does not see
/// what was committed meanwhile in other tables.
async fn live_seats<'a>(
    connection: &mut PgConnection,
    sale: &Sale,
    locked: &'a [LockedSeat],
) -> Result<Vec<&'a LockedSeat>, sqlx::Error> {
    let live = sqlx::query_scalar!(
        r#"SELECT seat_id AS "seat_id: SeatId" FROM sale_seats WHERE sale_id = $1 AND released_at IS NULL"#,
        sale.id
    )
    .fetch_all(connection)
    .await?;
    Ok(locked.iter().filter(|seat| live.contains(&seat.id)).collect())
}

/// Adds the seats to the counters of their tiers, which are locked in the order of the workers.
async fn add_to_tiers(connection: &mut PgConnection, seats: &[&LockedSeat]) -> Result<(), sqlx::Error> {
    let tiers: Vec<TierId> = seats.iter().map(|seat| seat.tier_id).collect();
    sqlx::query!(
        "SELECT id FROM ticket_tiers WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        &tiers as &[TierId]
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        UPDATE ticket_tiers tier SET available = tier.available + freed.count
        FROM (SELECT id, count(*)::integer AS count FROM unnest($1::integer[]) AS id GROUP BY id) freed
        WHERE tier.id = freed.id
        "#,
        &tiers as &[TierId]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks the versions of the seats' concerts in one order. The trigger would lock them in the order of the seats.
async fn lock_versions(connection: &mut PgConnection, seats: &[&LockedSeat]) -> Result<(), sqlx::Error> {
    let concerts: Vec<ConcertId> = seats.iter().map(|seat| seat.concert_id).collect();
    sqlx::query!(
        "SELECT FROM freed_versions WHERE concert_id = ANY($1) ORDER BY concert_id FOR NO KEY UPDATE",
        &concerts as &[ConcertId]
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// Takes the seats out of the sale, so that they can be sold in the year 9999, and records the release as unfinished. It waits for
/// nothing, since the seats are locked.
async fn take_from_sale(
    connection: &mut PgConnection,
    order: &ReleaseOrder,
    sale: &Sale,
    seats: &[&LockedSeat],
) -> Result<ReleaseId, sqlx::Error> {
    let seats: Vec<SeatId> = seats.iter().map(|seat| seat.id).collect();
    sqlx::query_scalar!(
        r#"
        WITH moment AS MATERIALIZED (
            SELECT clock_timestamp() AS now
        ), taken AS (
            UPDATE sale_seats SET released_at = now FROM moment
            WHERE sale_id = $1 AND seat_id = ANY($2) AND released_at IS NULL
        ), freed AS (
            UPDATE seats SET booked_at = NULL, updated_at = now, free_from = '9999-12-31 00:00+00' FROM moment
            WHERE id = ANY($2)
        )
        INSERT INTO releases (sale_id, ticket_id, seat_ids, reason, released_by, released_at, is_finished)
        SELECT $1, $3, $2, $4, $5, now, false FROM moment
        RETURNING id AS "id: ReleaseId"
        "#,
        sale.id,
        &seats as &[SeatId],
        order.ticket as TicketId,
        order.reason,
        order.by.as_str()
    )
    .fetch_one(connection)
    .await
}

/// The tickets whose outcome is this sale.
async fn tickets_of(connection: &mut PgConnection, sale: &Sale) -> Result<Vec<TicketId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT ticket_id AS "ticket_id: TicketId" FROM bookings WHERE ticket_id = $1 OR alias_of = $1"#,
        sale.ticket as TicketId
    )
    .fetch_all(connection)
    .await
}
