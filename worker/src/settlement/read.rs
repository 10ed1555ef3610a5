//! The queries of the transaction that follow the seat locks, in their order.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use hamro_shared::database::tickets;
use hamro_shared::domain::{
    ConcertId, Email, IdempotencyDigest, Outcome, Price, RequestHash, SeatId, TicketId, TierId, Timestamp,
};
use hamro_shared::epoch::History;
use sqlx::postgres::PgConnection;

use super::allocation::{Concert, Decision, Holdings, Inventory, PriorDecisions, Seat};
use super::announced_sales::Versions;
use super::batch::{Batch, BookingCommand};
use super::customer_limit::CustomerLimit;

/// Reads which of the batch's tickets and keys are already decided.
pub(super) async fn prior_decisions(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<PriorDecisions, sqlx::Error> {
    let commands = batch.commands.iter().map(|command| command.ticket.id);
    let dead_letters = batch.dead_letters.iter().filter_map(|letter| letter.ticket);
    let tickets: Vec<TicketId> = commands.chain(dead_letters).collect();
    let mut prior = PriorDecisions::default();
    let rows = sqlx::query!(
        r#"SELECT ticket_id AS "ticket_id: TicketId", request_hash FROM bookings WHERE ticket_id = ANY($1)"#,
        &tickets as &[TicketId]
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let hash = row.request_hash.as_deref().and_then(RequestHash::from_stored);
        prior.tickets.insert(row.ticket_id, hash);
    }

    let earlier = batch.commands.iter().flat_map(|command| &command.earlier);
    let keys: Vec<IdempotencyDigest> = batch
        .commands
        .iter()
        .filter_map(|command| command.key_digest)
        .chain(earlier.filter_map(|earlier| earlier.key_digest))
        .collect();
    if keys.is_empty() {
        return Ok(prior);
    }
    let rows = sqlx::query!(
        r#"
        SELECT idempotency_digest AS "key!: IdempotencyDigest", ticket_id AS "ticket_id: TicketId", request_hash,
               user_email AS "user_email: Email"
        FROM bookings
        WHERE idempotency_digest = ANY($1)
        "#,
        &keys as &[IdempotencyDigest]
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let hash = row.request_hash.as_deref().and_then(RequestHash::from_stored);
        let first = (row.ticket_id, hash);
        prior.keys.insert(row.key, first);
        let email = row.user_email.unwrap_or_else(Email::erased);
        let had_key = |command: &&BookingCommand| command.had_key(row.key, &email);
        for key in batch.commands.iter().filter(had_key).filter_map(|command| command.key_digest) {
            prior.keys.entry(key).or_insert(first);
        }
    }
    Ok(prior)
}

/// Reads the prices, sales windows, limits, reservations and versions of the locked seats' concerts, and which of the concerts that
/// the bookings name exist. A tier whose price is NaN gets no price: its seats cannot be sold, and all others can.
///
/// Whoever frees one of the locked seats changes the version of its concert before this transaction locks the seat or after it is
/// committed.
pub(super) async fn inventory(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    seats: HashMap<SeatId, Seat>,
    limit: CustomerLimit,
) -> Result<(Inventory, Versions), sqlx::Error> {
    let named = commands.iter().filter_map(|command| command.request.concert_id());
    let mut concerts: Vec<ConcertId> = seats.values().map(|seat| seat.concert_id).chain(named).collect();
    concerts.sort_unstable();
    concerts.dedup();
    // The parameter is in a subquery so that Postgres does not plan this again for each batch: it would expect fewer rows for few
    // concerts than for any, and planning takes longer than the query.
    let rows = sqlx::query!(
        r#"
        SELECT concert.id AS "concert_id!: ConcertId", concert.sales_open_at AS "sales_open_at: Timestamp",
               least(concert.sales_close_at, concert.begins_at) AS "closes_at: Timestamp", concert.seats_per_customer,
               concert.reserved_for AS "reserved_for: Email",
               tier.id AS "tier_id?: TierId", NULLIF(tier.price, 'NaN') AS "price?: Price",
               tier.available AS "available?", freed.version AS "freed_version?",
               (SELECT epoch FROM installation_epoch) AS "epoch?", (SELECT database_timeline()) AS "timeline!"
        FROM concerts concert
        LEFT JOIN ticket_tiers tier ON tier.concert_id = concert.id
        LEFT JOIN freed_versions freed ON freed.concert_id = concert.id
        WHERE concert.id = ANY((SELECT $1::uuid[])::uuid[])
        "#,
        &concerts as &[ConcertId]
    )
    .fetch_all(connection)
    .await?;
    let holdings = Holdings::of(limit.ignore_tags);
    let mut inventory = Inventory { seats, holdings, ..Inventory::default() };
    let mut versions = Versions::default();
    for row in rows {
        versions.history = row.epoch.map(|epoch| History { epoch, timeline: row.timeline });
        if let Some(version) = row.freed_version {
            versions.freed.insert(row.concert_id, version);
        }
        if let (Some(tier), Some(price)) = (row.tier_id, row.price) {
            inventory.prices.insert(tier, price);
        }
        if let Some(customer) = row.reserved_for {
            inventory.reserved.insert(row.concert_id, customer);
        }
        let concert = inventory.concerts.entry(row.concert_id).or_insert_with(|| Concert {
            sales_open_at: row.sales_open_at,
            closes_at: row.closes_at,
            available: 0,
            seats_per_customer: row
                .seats_per_customer
                .and_then(|seats| u32::try_from(seats).ok())
                .or(limit.seats.map(NonZeroU32::get)),
        });
        concert.available += row.available.map_or(0, i64::from);
    }
    Ok((inventory, versions))
}

/// Reads the earlier outcomes that retries in this batch share, or why one is unreadable. The first ticket under the
/// key may be in this batch too, if its message was redelivered.
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
