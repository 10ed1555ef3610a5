//! Locks the seats that a batch requests.

use std::collections::{HashMap, HashSet};

use hamro_shared::domain::{ConcertId, SeatId, TierId, Timestamp};
use hamro_shared::telemetry::metrics::Distribution;
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::allocation::Seat;
use super::batch::BookingCommand;
use super::stuck_seats::StuckSeats;

/// How to lock the seats.
#[derive(Clone, Default)]
pub struct Locking {
    /// Do not wait for these seats.
    pub stuck_seats: StuckSeats,
    /// Skip every locked seat instead of waiting for it: a lock timed out, and the database does not report which seat
    /// it was.
    pub skip_all_locked: bool,
    /// Measures how long it takes to lock the seats.
    pub wait: Distribution,
}

/// The seats that this transaction has locked, and those that another session holds.
pub(super) struct Locked {
    pub seats: HashMap<SeatId, Seat>,
    pub held: HashSet<SeatId>,
}

/// Locks the seats as [`lock_in_order`] does, and measures how long that takes, also if it fails.
pub(super) async fn lock_seats(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    locking: &Locking,
) -> Result<Locked, sqlx::Error> {
    let started = Instant::now();
    let locked = lock_in_order(connection, commands, locking).await;
    locking.wait.observe_duration(started.elapsed());
    locked
}

/// Locks every seat that a command requests, in the order of their ids. Seats that may be stuck come last, without
/// waiting: a transaction that holds one of them out of order waits for no further seat, so no deadlock can arise.
async fn lock_in_order(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    locking: &Locking,
) -> Result<Locked, sqlx::Error> {
    let mut ids: Vec<SeatId> =
        commands.iter().flat_map(|command| command.request.seat_ids()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let maybe_stuck = if locking.skip_all_locked { ids.clone() } else { locking.stuck_seats.among(&ids) };
    if maybe_stuck.is_empty() {
        let seats = lock(connection, &ids).await?.into_iter().collect();
        return Ok(Locked { seats, held: HashSet::new() });
    }
    ids.retain(|id| maybe_stuck.binary_search(id).is_err());
    let mut seats = HashMap::new();
    if !ids.is_empty() {
        seats.extend(lock(connection, &ids).await?);
    }
    seats.extend(lock_without_waiting(connection, &maybe_stuck).await?);
    let skipped: Vec<SeatId> = maybe_stuck.iter().copied().filter(|id| !seats.contains_key(id)).collect();
    let held = if skipped.is_empty() { Vec::new() } else { existing(connection, &skipped).await? };
    locking.stuck_seats.tried(&maybe_stuck, &held);
    Ok(Locked { seats, held: held.into_iter().collect() })
}

/// Runs the locking statement with `$suffix` appended.
macro_rules! lock {
    ($connection:expr, $ids:expr, $suffix:literal) => {
        sqlx::query!(
            r#"
            SELECT id AS "id: SeatId", concert_id AS "concert_id: ConcertId", ticket_tier_id AS "tier_id: TierId",
                   section, "row", seat_number, booked_at IS NOT NULL AS "is_sold!", free_from AS "free_from: Timestamp"
            FROM seats
            WHERE id = ANY($1)
            ORDER BY id
            FOR UPDATE OF seats "#
                + $suffix,
            $ids as &[SeatId]
        )
        .map(|row| {
            let seat = Seat {
                concert_id: row.concert_id,
                tier_id: row.tier_id,
                section: row.section,
                row: row.row,
                number: row.seat_number,
                is_sold: row.is_sold,
                free_from: row.free_from,
            };
            (row.id, seat)
        })
        .fetch_all($connection)
        .await
    };
}

/// Waits for each lock, up to the session's lock timeout.
async fn lock(connection: &mut PgConnection, ids: &[SeatId]) -> Result<Vec<(SeatId, Seat)>, sqlx::Error> {
    lock!(connection, ids, "")
}

/// Locks those of the seats that no other session holds.
async fn lock_without_waiting(
    connection: &mut PgConnection,
    ids: &[SeatId],
) -> Result<Vec<(SeatId, Seat)>, sqlx::Error> {
    lock!(connection, ids, "SKIP LOCKED")
}

/// Those of the seats that exist.
async fn existing(connection: &mut PgConnection, ids: &[SeatId]) -> Result<Vec<SeatId>, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT id AS "id: SeatId" FROM seats WHERE id = ANY($1)"#, ids as &[SeatId])
        .fetch_all(connection)
        .await
}
