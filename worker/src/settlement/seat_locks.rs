//! The locks on the seats that a batch asks for.

use std::collections::{HashMap, HashSet};

use hamro_shared::domain::{ConcertId, SeatId, TierId};
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;

use super::allocation::Seat;
use super::batch::BookingCommand;
use super::stuck_seats::StuckSeats;

/// How to lock the seats.
#[derive(Clone, Default)]
pub struct Locking {
    /// These are not waited for.
    pub stuck_seats: StuckSeats,
    /// No seat is waited for: a wait for one of them has timed out, and the database does not say for which.
    pub waits_for_none: bool,
}

/// The seats that this transaction has locked, and those that another session holds.
pub(super) struct Locked {
    pub seats: HashMap<SeatId, Seat>,
    pub held: HashSet<SeatId>,
}

struct Row {
    id: i32,
    concert_id: Uuid,
    ticket_tier_id: i32,
    seat_number: String,
    is_sold: bool,
}

/// Locks every seat that one of the orders asks for, in the order of their ids. Seats that may be stuck come last, and are not
/// waited for: so a transaction that holds one of them out of order waits for no further seat, and no circle can close.
pub(super) async fn lock_seats(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    locking: &Locking,
) -> Result<Locked, sqlx::Error> {
    let mut ids: Vec<i32> =
        commands.iter().flat_map(|command| command.request.seat_ids()).map(|seat| seat.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let doubtful = if locking.waits_for_none { ids.clone() } else { locking.stuck_seats.among(&ids) };
    let mut held = Vec::new();
    let rows = if doubtful.is_empty() {
        wait_for(connection, &ids).await?
    } else {
        ids.retain(|id| doubtful.binary_search(id).is_err());
        let mut rows = if ids.is_empty() { Vec::new() } else { wait_for(connection, &ids).await? };
        let free = lock_free(connection, &doubtful).await?;
        let skipped: Vec<i32> =
            doubtful.iter().copied().filter(|id| free.iter().all(|seat| seat.id != *id)).collect();
        if !skipped.is_empty() {
            held = existing(connection, &skipped).await?;
        }
        locking.stuck_seats.tried(&doubtful, &held);
        rows.extend(free);
        rows
    };
    let seats = rows.into_iter().map(|row| {
        let seat = Seat {
            concert_id: ConcertId(row.concert_id),
            tier_id: TierId(row.ticket_tier_id),
            number: row.seat_number,
            is_sold: row.is_sold,
        };
        (SeatId(row.id), seat)
    });
    Ok(Locked { seats: seats.collect(), held: held.into_iter().map(SeatId).collect() })
}

async fn wait_for(connection: &mut PgConnection, ids: &[i32]) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT id, concert_id, ticket_tier_id, seat_number, booked_at IS NOT NULL AS "is_sold!"
        FROM seats
        WHERE id = ANY($1)
        ORDER BY id
        FOR UPDATE OF seats
        "#,
        ids
    )
    .fetch_all(connection)
    .await
}

async fn lock_free(connection: &mut PgConnection, ids: &[i32]) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT id, concert_id, ticket_tier_id, seat_number, booked_at IS NOT NULL AS "is_sold!"
        FROM seats
        WHERE id = ANY($1)
        ORDER BY id
        FOR UPDATE OF seats SKIP LOCKED
        "#,
        ids
    )
    .fetch_all(connection)
    .await
}

/// Those of the seats that exist.
async fn existing(connection: &mut PgConnection, ids: &[i32]) -> Result<Vec<i32>, sqlx::Error> {
    sqlx::query_scalar!("SELECT id FROM seats WHERE id = ANY($1)", ids).fetch_all(connection).await
}
