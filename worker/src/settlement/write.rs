//! What the transaction writes: a statement a table, each with a whole batch of rows in arrays, a column each.

use std::collections::{BTreeMap, HashMap};

use hamro_shared::domain::{Outcome, TicketId, Timestamp};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;

use super::{Conclusion, Sale};
use crate::allocation::Decision;
use crate::batch::{DeadLetter, Order};

/// Writes the sales that were decided on, and marks their seats as sold.
pub(super) async fn sales(
    connection: &mut PgConnection,
    orders: &[Order],
    decisions: &[Decision],
    now: Timestamp,
) -> Result<HashMap<TicketId, Sale>, sqlx::Error> {
    let mut sold = HashMap::new();
    let (mut tickets, mut names, mut emails) = (Vec::new(), Vec::new(), Vec::new());
    for (order, decision) in orders.iter().zip(decisions) {
        if let Decision::Sell(seats) = decision {
            sold.insert(order.ticket.id, seats.clone());
            tickets.push(order.ticket.id.0);
            names.push(order.request.user_name().as_str().to_owned());
            emails.push(order.request.user_email().as_str().to_owned());
        }
    }
    if tickets.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"
        INSERT INTO sales (ticket_id, user_name, user_email, created_at)
        SELECT sale.ticket_id, sale.user_name, sale.user_email, $4
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS sale (ticket_id, user_name, user_email)
        RETURNING id, ticket_id
        "#,
        &tickets,
        &names,
        &emails,
        now.datetime()
    )
    .fetch_all(&mut *connection)
    .await?;
    let sales: HashMap<TicketId, Sale> = rows
        .into_iter()
        .filter_map(|row| {
            let ticket = TicketId(row.ticket_id);
            Some((ticket, Sale { id: row.id, seats: sold.remove(&ticket)? }))
        })
        .collect();
    sale_seats(connection, sales.values(), now).await?;
    Ok(sales)
}

async fn sale_seats(
    connection: &mut PgConnection,
    sales: impl Iterator<Item = &Sale>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let (mut sale_ids, mut positions, mut seat_ids, mut prices) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for sale in sales {
        for (position, seat) in (0_i16..).zip(&sale.seats) {
            sale_ids.push(sale.id);
            positions.push(position);
            seat_ids.push(seat.id.0);
            prices.push(seat.price.amount());
        }
    }
    sqlx::query!(
        r#"
        WITH sold AS (
            INSERT INTO sale_seats (sale_id, position, seat_id, price)
            SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::numeric[])
        )
        UPDATE seats SET booked_at = $5, updated_at = $5 WHERE id = ANY($3)
        "#,
        &sale_ids,
        &positions,
        &seat_ids,
        &prices as &[Decimal],
        now.datetime()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes each ticket's one row, complete. A ticket that has one already makes the whole transaction fail.
pub(super) async fn bookings(
    connection: &mut PgConnection,
    conclusions: &[Conclusion],
) -> Result<(), sqlx::Error> {
    if conclusions.is_empty() {
        return Ok(());
    }
    let mut columns = BookingColumns::default();
    for conclusion in conclusions {
        columns.push(conclusion);
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
        &columns.request_hash as &[Option<Vec<u8>>],
        &columns.user_name as &[Option<String>],
        &columns.user_email as &[Option<String>],
        &columns.idempotency_digest as &[Option<Vec<u8>>],
        &columns.alias_of as &[Option<Uuid>],
        &columns.sale_id as &[Option<i64>],
        &columns.rejection as &[Option<Value>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct BookingColumns {
    ticket_id: Vec<Uuid>,
    status: Vec<&'static str>,
    settled_at: Vec<sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc>>,
    request_hash: Vec<Option<Vec<u8>>>,
    user_name: Vec<Option<String>>,
    user_email: Vec<Option<String>>,
    idempotency_digest: Vec<Option<Vec<u8>>>,
    alias_of: Vec<Option<Uuid>>,
    sale_id: Vec<Option<i64>>,
    rejection: Vec<Option<Value>>,
}

impl BookingColumns {
    fn push(&mut self, conclusion: &Conclusion) {
        let order = conclusion.order.as_ref();
        let key = order.and_then(|order| order.key).filter(|_| conclusion.holds_key);
        let (status, sale_id, rejection) = match &conclusion.ticket.outcome {
            Outcome::Confirmed { booking } => ("confirmed", Some(booking.id), None),
            Outcome::Rejected { rejection } => ("rejected", None, serde_json::to_value(rejection).ok()),
            Outcome::Expired => ("expired", None, None),
            Outcome::Failed => ("failed", None, None),
        };
        self.ticket_id.push(conclusion.ticket.ticket_id.0);
        self.status.push(status);
        self.settled_at.push(conclusion.ticket.settled_at.datetime());
        self.request_hash.push(order.map(|order| order.hash.0.to_vec()));
        self.user_name.push(order.map(|order| order.request.user_name().as_str().to_owned()));
        self.user_email.push(order.map(|order| order.request.user_email().as_str().to_owned()));
        self.idempotency_digest.push(key.map(|key| key.0.to_vec()));
        self.alias_of.push(conclusion.alias_of.map(|ticket| ticket.0));
        self.sale_id.push(sale_id);
        self.rejection.push(rejection);
    }
}

/// Keeps what could not be processed. A letter that is already there is not kept again, so that a message that comes
/// twice changes nothing.
pub(super) async fn dead_letters(
    connection: &mut PgConnection,
    letters: &[DeadLetter],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if letters.is_empty() {
        return Ok(());
    }
    for letter in letters {
        let reason = letter.reason.as_str();
        tracing::error!(reason, detail = letter.detail, "keeping a dead letter: {reason}");
    }
    let tickets: Vec<Option<Uuid>> =
        letters.iter().map(|letter| letter.ticket.map(|ticket| ticket.0)).collect();
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    let details: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    let payloads: Vec<&[u8]> = letters.iter().map(|letter| letter.payload.as_slice()).collect();
    sqlx::query!(
        r#"
        INSERT INTO dead_letters (ticket_id, reason, detail, payload, created_at)
        SELECT ticket_id, reason, detail, payload, $5
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS letter (ticket_id, reason, detail, payload)
        ON CONFLICT (reason, sha256(payload)) DO NOTHING
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
pub(super) async fn move_counters(
    connection: &mut PgConnection,
    sales: &HashMap<TicketId, Sale>,
) -> Result<(), sqlx::Error> {
    let mut sold: BTreeMap<i32, i32> = BTreeMap::new();
    for seat in sales.values().flat_map(|sale| &sale.seats) {
        *sold.entry(seat.tier_id.0).or_default() += 1;
    }
    if sold.is_empty() {
        return Ok(());
    }
    let (tiers, counts): (Vec<i32>, Vec<i32>) = sold.into_iter().unzip();
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
