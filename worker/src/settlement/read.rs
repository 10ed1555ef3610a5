//! What the transaction reads once it has locked the seats, in this order.

use std::collections::{HashMap, HashSet};

use hamro_shared::database::{StoredTimestamp, tickets};
use hamro_shared::domain::{ConcertId, Outcome, Price, RequestHash, SeatId, TicketId, TierId};
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;

use super::allocation::{Concert, Decision, Inventory, PriorDecisions, Seat};
use super::batch::{Batch, BookingCommand};

/// Which of the batch's tickets and keys have been decided before.
pub(super) async fn settled(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<PriorDecisions, sqlx::Error> {
    let commands = batch.commands.iter().map(|command| command.ticket.id.0);
    let dead_letters = batch.dead_letters.iter().filter_map(|letter| letter.ticket).map(|ticket| ticket.0);
    let tickets: Vec<Uuid> = commands.chain(dead_letters).collect();
    let mut settled = PriorDecisions::default();
    let rows =
        sqlx::query!("SELECT ticket_id, request_hash FROM bookings WHERE ticket_id = ANY($1)", &tickets)
            .fetch_all(&mut *connection)
            .await?;
    for row in rows {
        let hash = row.request_hash.and_then(|hash| hash.try_into().ok()).map(RequestHash);
        settled.tickets.insert(TicketId(row.ticket_id), hash);
    }

    let keys: HashMap<Vec<u8>, _> =
        batch.commands.iter().filter_map(|command| command.key).map(|key| (key.0.to_vec(), key)).collect();
    if keys.is_empty() {
        return Ok(settled);
    }
    let digests: Vec<Vec<u8>> = keys.keys().cloned().collect();
    let rows = sqlx::query!(
        r#"
        SELECT idempotency_digest AS "digest!", ticket_id, request_hash
        FROM bookings
        WHERE idempotency_digest = ANY($1)
        "#,
        &digests
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let hash = row.request_hash.and_then(|hash| hash.try_into().ok()).map(RequestHash);
        if let Some(key) = keys.get(&row.digest) {
            settled.keys.insert(*key, (TicketId(row.ticket_id), hash));
        }
    }
    Ok(settled)
}

/// The prices and sales windows that go with the locked seats. A tier whose price is no number has none: its seats cannot be
/// sold, and all others can.
pub(super) async fn inventory(
    connection: &mut PgConnection,
    seats: HashMap<SeatId, Seat>,
) -> Result<Inventory, sqlx::Error> {
    let mut concerts: Vec<Uuid> = seats.values().map(|seat| seat.concert_id.0).collect();
    concerts.sort_unstable();
    concerts.dedup();
    let rows = sqlx::query!(
        r#"
        SELECT tier.id, tier.concert_id, NULLIF(tier.price, 'NaN') AS price, tier.available,
               concert.sales_open_at AS "sales_open_at: StoredTimestamp",
               concert.sales_close_at AS "sales_close_at: StoredTimestamp"
        FROM ticket_tiers tier
        JOIN concerts concert ON concert.id = tier.concert_id
        WHERE tier.concert_id = ANY($1)
        "#,
        &concerts
    )
    .fetch_all(connection)
    .await?;
    let mut inventory = Inventory { seats, ..Inventory::default() };
    for row in rows {
        if let Some(price) = row.price {
            inventory.prices.insert(TierId(row.id), Price::from_stored(price));
        }
        let concert = inventory.concerts.entry(ConcertId(row.concert_id)).or_insert_with(|| Concert {
            sales_open_at: row.sales_open_at.map(Into::into),
            sales_close_at: row.sales_close_at.map(Into::into),
            available: 0,
        });
        concert.available += i64::from(row.available);
    }
    Ok(inventory)
}

/// The outcomes of earlier batches that retries in this one share, or why one cannot be read. The first try may well be in
/// this batch too, because it has come again.
pub(super) async fn shared_outcomes(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    decisions: &[Decision],
) -> Result<HashMap<TicketId, Result<Outcome, String>>, sqlx::Error> {
    let decided: HashSet<TicketId> = commands
        .iter()
        .zip(decisions)
        .filter(|(_, decision)| matches!(decision, Decision::Sell(_) | Decision::Reject(_)))
        .map(|(command, _)| command.ticket.id)
        .collect();
    let earlier: Vec<TicketId> = decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::ShareOutcomeOf(first) if !decided.contains(first) => Some(*first),
            _ => None,
        })
        .collect();
    if earlier.is_empty() {
        return Ok(HashMap::new());
    }
    let settled = tickets::find_settled(connection, &earlier).await?;
    let outcomes = settled.into_iter().map(|found| match found {
        Ok(settled) => (settled.ticket_id, Ok(settled.outcome)),
        Err(unreadable) => (unreadable.ticket, Err(unreadable.reason)),
    });
    Ok(outcomes.collect())
}
