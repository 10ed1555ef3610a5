//! What the transaction writes: a statement a table, each with a whole batch of rows in arrays, a column each.

use std::collections::BTreeMap;

use hamro_shared::domain::{Outcome, SoldSeat, TicketId, TierId, Timestamp};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;
use sqlx::types::chrono::{DateTime, Utc};

use super::allocation::Decision;
use super::batch::{BookingCommand, DeadLetter};
use super::results::{Sales, TicketResult};

/// Writes the sales that were decided on, and marks their seats as sold. One statement, since each trip to the database
/// costs as much as some dozens of rows.
pub(super) async fn sales(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    decisions: &[Decision],
    now: Timestamp,
) -> Result<Sales, sqlx::Error> {
    let mut columns = SaleColumns::default();
    for (command, decision) in commands.iter().zip(decisions) {
        if let Decision::Sell(seats) = decision {
            columns.push(command, seats);
        }
    }
    if columns.ticket_id.is_empty() {
        return Ok(Sales::default());
    }
    let numbers = sqlx::query_scalar!(
        r#"
        WITH numbered AS MATERIALIZED (
            SELECT nextval('sales_id_seq') AS id, sale.*
            FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY
                AS sale (ticket_id, user_name, user_email, place)
        ), sold AS (
            INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
            SELECT id, ticket_id, user_name, user_email, $8 FROM numbered
        ), numbers AS MATERIALIZED (
            SELECT array_agg(id ORDER BY place) AS ids FROM numbered
        ), placed AS (
            INSERT INTO sale_seats (sale_id, position, seat_id, price)
            SELECT ids[seat.sale], seat.position, seat.seat_id, seat.price
            FROM numbers, unnest($4::integer[], $5::smallint[], $6::integer[], $7::numeric[])
                AS seat (sale, position, seat_id, price)
        ), marked AS (
            UPDATE seats SET booked_at = $8, updated_at = $8 WHERE id = ANY($6)
        )
        SELECT ids AS "ids!" FROM numbers
        "#,
        &columns.ticket_id,
        &columns.user_name as &[&str],
        &columns.user_email as &[&str],
        &columns.sale,
        &columns.position,
        &columns.seat_id,
        &columns.price as &[Decimal],
        now.datetime()
    )
    .fetch_one(connection)
    .await?;
    let tickets = columns.ticket_id.into_iter().map(TicketId);
    Ok(Sales { numbers: tickets.zip(numbers).collect(), seats_by_tier: columns.seats_by_tier })
}

#[derive(Default)]
struct SaleColumns<'a> {
    ticket_id: Vec<Uuid>,
    user_name: Vec<&'a str>,
    user_email: Vec<&'a str>,
    /// Of a seat: which of the sales it belongs to, counted from 1.
    sale: Vec<i32>,
    position: Vec<i16>,
    seat_id: Vec<i32>,
    price: Vec<Decimal>,
    seats_by_tier: BTreeMap<TierId, i32>,
}

impl<'a> SaleColumns<'a> {
    fn push(&mut self, command: &'a BookingCommand, seats: &[SoldSeat]) {
        self.ticket_id.push(command.ticket.id.0);
        self.user_name.push(command.request.user_name().as_str());
        self.user_email.push(command.request.user_email().as_str());
        let sale = i32::try_from(self.ticket_id.len()).unwrap_or(i32::MAX);
        for (position, seat) in (0..).zip(seats) {
            self.sale.push(sale);
            self.position.push(position);
            self.seat_id.push(seat.id.0);
            self.price.push(seat.price.amount());
            *self.seats_by_tier.entry(seat.tier_id).or_default() += 1;
        }
    }
}

/// Writes each ticket's one row, complete. A ticket that has one already makes the whole transaction fail.
pub(super) async fn bookings(
    connection: &mut PgConnection,
    results: &[TicketResult<'_>],
) -> Result<(), sqlx::Error> {
    if results.is_empty() {
        return Ok(());
    }
    let mut columns = BookingColumns::default();
    for result in results {
        columns.push(result);
    }
    sqlx::query!(
        r#"
        INSERT INTO bookings (ticket_id, status, settled_at, request_hash, user_name, user_email, idempotency_digest,
                              alias_of, sale_id, rejection)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bytea[], $5::text[], $6::text[],
                             $7::bytea[], $8::uuid[], $9::bigint[], $10::jsonb[])
        "#,
        &columns.ticket_id,
        &columns.status as &[&str],
        &columns.settled_at,
        &columns.request_hash as &[Option<&[u8]>],
        &columns.user_name as &[Option<&str>],
        &columns.user_email as &[Option<&str>],
        &columns.idempotency_digest as &[Option<&[u8]>],
        &columns.alias_of as &[Option<Uuid>],
        &columns.sale_id as &[Option<i64>],
        &columns.rejection as &[Option<Value>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct BookingColumns<'a> {
    ticket_id: Vec<Uuid>,
    status: Vec<&'static str>,
    settled_at: Vec<DateTime<Utc>>,
    request_hash: Vec<Option<&'a [u8]>>,
    user_name: Vec<Option<&'a str>>,
    user_email: Vec<Option<&'a str>>,
    idempotency_digest: Vec<Option<&'a [u8]>>,
    alias_of: Vec<Option<Uuid>>,
    sale_id: Vec<Option<i64>>,
    rejection: Vec<Option<Value>>,
}

impl<'a> BookingColumns<'a> {
    fn push(&mut self, result: &TicketResult<'a>) {
        let command = result.command;
        let key = command.and_then(|command| command.key.as_ref()).filter(|_| result.holds_key);
        let (status, sale_id, rejection) = match &result.ticket.outcome {
            Outcome::Confirmed { booking } => ("confirmed", Some(booking.id), None),
            Outcome::Rejected { rejection } => ("rejected", None, serde_json::to_value(rejection).ok()),
            Outcome::Expired => ("expired", None, None),
            Outcome::Failed => ("failed", None, None),
        };
        self.ticket_id.push(result.ticket.ticket_id.0);
        self.status.push(status);
        self.settled_at.push(result.ticket.settled_at.datetime());
        self.request_hash.push(command.map(|command| command.hash.0.as_slice()));
        self.user_name.push(command.map(|command| command.request.user_name().as_str()));
        self.user_email.push(command.map(|command| command.request.user_email().as_str()));
        self.idempotency_digest.push(key.map(|key| key.0.as_slice()));
        self.alias_of.push(result.alias_of.map(|ticket| ticket.0));
        self.sale_id.push(sale_id);
        self.rejection.push(rejection);
    }
}

/// Keeps what could not be processed. A letter that is open already stays as it is, so that a message that comes twice changes
/// nothing. One that was resolved is opened again: nobody has decided on this occurrence yet. It keeps the ticket under which
/// it was reissued, so that reissuing it again cannot sell it twice.
///
/// The unique index covers resolved letters too. An index of the open ones alone would need another conflict target, and
/// workers of an earlier version, which run while the schema is upgraded, would be refused theirs.
///
/// The rows are sorted: a statement must not meet one letter twice, and two transactions must not wait in a circle.
pub(super) async fn dead_letters(
    connection: &mut PgConnection,
    letters: &[DeadLetter],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if letters.is_empty() {
        return Ok(());
    }
    for letter in letters {
        // Not its detail, which may quote what a customer has sent.
        let (reason, ticket) = (letter.reason.as_str(), letter.ticket.map(tracing::field::display));
        tracing::error!(reason, ticket.log_id = ticket, "keeping a dead letter: {reason}");
    }
    let tickets: Vec<Option<Uuid>> =
        letters.iter().map(|letter| letter.ticket.map(|ticket| ticket.0)).collect();
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    let details: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    let payloads: Vec<&[u8]> = letters.iter().map(|letter| letter.payload.as_slice()).collect();
    sqlx::query!(
        r#"
        INSERT INTO dead_letters AS known (ticket_id, reason, detail, payload, created_at)
        SELECT DISTINCT ON (reason, payload) ticket_id, reason, detail, payload, $5
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS letter (ticket_id, reason, detail, payload)
        ORDER BY reason, payload
        ON CONFLICT (reason, sha256(payload)) DO UPDATE
        SET resolution = NULL, resolved_at = NULL, detail = excluded.detail, created_at = excluded.created_at
        WHERE known.resolved_at IS NOT NULL
        "#,
        &tickets as &[Option<Uuid>],
        &reasons as &[&str],
        &details as &[&str],
        &payloads as &[&[u8]],
        now.datetime()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes what was sold off the tiers' counters. This is the hottest lock of all, a row that all sales of a tier share:
/// it is taken last, and held only for the commit. An `UPDATE … FROM` would lock in the order of its plan, and so
/// deadlock with another; hence the lock in a statement of its own.
pub(super) async fn move_counters(connection: &mut PgConnection, sales: &Sales) -> Result<(), sqlx::Error> {
    if sales.seats_by_tier.is_empty() {
        return Ok(());
    }
    let (tiers, counts): (Vec<i32>, Vec<i32>) =
        sales.seats_by_tier.iter().map(|(tier, count)| (tier.0, *count)).unzip();
    sqlx::query!("SELECT id FROM ticket_tiers WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", &tiers)
        .fetch_all(&mut *connection)
        .await?;
    sqlx::query!(
        r#"
        UPDATE ticket_tiers tier SET available = tier.available - sold.count
        FROM unnest($1::integer[], $2::integer[]) AS sold (id, count)
        WHERE tier.id = sold.id
        "#,
        &tiers,
        &counts
    )
    .execute(connection)
    .await?;
    Ok(())
}
