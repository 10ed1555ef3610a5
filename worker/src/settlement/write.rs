//! The statements that write a batch's results. Each inserts all rows of one table, passed as one array per column.

use std::collections::BTreeMap;

use hamro_shared::domain::{
    ConcertId, CustomerDigest, CustomerDigests, CustomerName, Email, IdempotencyDigest, Outcome, Price,
    RequestHash, SeatId, SoldSeat, TicketId, TierId, Timestamp,
};
use hamro_shared::telemetry::traces::trace_id;
use serde_json::Value;
use sqlx::postgres::PgConnection;

use super::allocation::Decision;
use super::batch::{BookingCommand, DeadLetter, DeadLetterReason};
use super::results::{Sales, TicketResult};

/// Writes the sales and marks their seats as sold, in one statement, because a round trip to the database costs as much
/// as a few dozen rows. A sale keeps what its seats are called now, because seats can be renamed and deleted.
pub(super) async fn insert_sales(
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
            FROM unnest($1::uuid[], $2::text[], $3::text[], $14::bytea[], $15::bytea[]) WITH ORDINALITY
                AS sale (ticket_id, user_name, user_email, customer_digest, tagged_digest, place)
        ), sold AS (
            INSERT INTO sales (id, ticket_id, user_name, user_email, customer_digest, tagged_digest, created_at)
            SELECT id, ticket_id, user_name, user_email, customer_digest, tagged_digest, $13 FROM numbered
        ), numbers AS MATERIALIZED (
            SELECT array_agg(id ORDER BY place) AS ids FROM numbered
        ), placed AS (
            INSERT INTO sale_seats (sale_id, position, seat_id, price, concert_id, ticket_tier_id, section, "row",
                                    seat_number)
            SELECT ids[seat.sale], position, seat_id, price, concert_id, ticket_tier_id, section, "row", seat_number
            FROM numbers, unnest($4::integer[], $5::smallint[], $6::integer[], $7::numeric[], $8::uuid[],
                                 $9::integer[], $10::text[], $11::integer[], $12::text[])
                AS seat (sale, position, seat_id, price, concert_id, ticket_tier_id, section, "row", seat_number)
        ), marked AS (
            UPDATE seats SET booked_at = $13, updated_at = $13 WHERE id = ANY($6)
        )
        SELECT ids AS "ids!" FROM numbers
        "#,
        &columns.ticket_id as &[TicketId],
        &columns.user_name as &[&CustomerName],
        &columns.user_email as &[&Email],
        &columns.sale,
        &columns.position,
        &columns.seat_id as &[SeatId],
        &columns.price as &[Price],
        &columns.concert_id as &[ConcertId],
        &columns.ticket_tier_id as &[TierId],
        &columns.section as &[&str],
        &columns.row,
        &columns.seat_number as &[&str],
        now as Timestamp,
        &columns.customer_digest as &[CustomerDigest],
        &columns.tagged_digest as &[Option<CustomerDigest>]
    )
    .fetch_one(connection)
    .await?;
    Ok(Sales {
        numbers: columns.ticket_id.into_iter().zip(numbers).collect(),
        sold_count_by_tier: columns.sold_count_by_tier,
    })
}

#[derive(Default)]
struct SaleColumns<'a> {
    ticket_id: Vec<TicketId>,
    user_name: Vec<&'a CustomerName>,
    user_email: Vec<&'a Email>,
    customer_digest: Vec<CustomerDigest>,
    tagged_digest: Vec<Option<CustomerDigest>>,
    /// For each seat, the number of its sale within this batch, from 1.
    sale: Vec<i32>,
    position: Vec<i16>,
    seat_id: Vec<SeatId>,
    price: Vec<Price>,
    concert_id: Vec<ConcertId>,
    ticket_tier_id: Vec<TierId>,
    section: Vec<&'a str>,
    row: Vec<i32>,
    seat_number: Vec<&'a str>,
    sold_count_by_tier: BTreeMap<TierId, i32>,
}

impl<'a> SaleColumns<'a> {
    fn push(&mut self, command: &'a BookingCommand, seats: &'a [SoldSeat]) {
        self.ticket_id.push(command.ticket.id);
        self.user_name.push(command.request.user_name());
        self.user_email.push(command.request.user_email());
        let customer = CustomerDigests::of(command.request.user_email());
        self.customer_digest.push(customer.mailbox);
        self.tagged_digest.push(customer.tagged);
        let sale = i32::try_from(self.ticket_id.len()).unwrap_or(i32::MAX);
        for (position, seat) in (0..).zip(seats) {
            self.sale.push(sale);
            self.position.push(position);
            self.seat_id.push(seat.label.id);
            self.price.push(seat.price);
            self.concert_id.push(seat.concert_id);
            self.ticket_tier_id.push(seat.tier_id);
            self.section.push(&seat.label.section);
            self.row.push(seat.label.row);
            self.seat_number.push(&seat.label.seat_number);
            *self.sold_count_by_tier.entry(seat.tier_id).or_default() += 1;
        }
    }
}

/// Inserts one complete row per ticket. If a ticket already has a row, the whole transaction fails.
pub(super) async fn insert_bookings(
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
        &columns.ticket_id as &[TicketId],
        &columns.status as &[&str],
        &columns.settled_at as &[Timestamp],
        &columns.request_hash as &[Option<RequestHash>],
        &columns.user_name as &[Option<&CustomerName>],
        &columns.user_email as &[Option<&Email>],
        &columns.idempotency_digest as &[Option<IdempotencyDigest>],
        &columns.alias_of as &[Option<TicketId>],
        &columns.sale_id as &[Option<i64>],
        &columns.rejection as &[Option<Value>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct BookingColumns<'a> {
    ticket_id: Vec<TicketId>,
    status: Vec<&'static str>,
    settled_at: Vec<Timestamp>,
    request_hash: Vec<Option<RequestHash>>,
    user_name: Vec<Option<&'a CustomerName>>,
    user_email: Vec<Option<&'a Email>>,
    idempotency_digest: Vec<Option<IdempotencyDigest>>,
    alias_of: Vec<Option<TicketId>>,
    sale_id: Vec<Option<i64>>,
    rejection: Vec<Option<Value>>,
}

impl<'a> BookingColumns<'a> {
    fn push(&mut self, result: &TicketResult<'a>) {
        let command = result.command;
        let key_digest = command.and_then(|command| command.key_digest).filter(|_| result.holds_key);
        let (status, sale_id, rejection) = match &result.ticket.outcome {
            Outcome::Confirmed { booking } => ("confirmed", Some(booking.id), None),
            Outcome::Rejected { rejection } => ("rejected", None, serde_json::to_value(rejection).ok()),
            Outcome::Expired => ("expired", None, None),
            Outcome::Failed => ("failed", None, None),
        };
        self.ticket_id.push(result.ticket.ticket_id);
        self.status.push(status);
        self.settled_at.push(result.ticket.settled_at);
        self.request_hash.push(command.map(|command| command.hash));
        self.user_name.push(command.map(|command| command.request.user_name()));
        self.user_email.push(command.map(|command| command.request.user_email()));
        self.idempotency_digest.push(key_digest);
        self.alias_of.push(result.alias_of);
        self.sale_id.push(sale_id);
        self.rejection.push(rejection);
    }
}

/// Stores dead letters. An open letter stays unchanged, so that a redelivered message has no effect. A resolved letter
/// is opened again, because this occurrence needs a new decision. It keeps the ticket under which it was reissued, so
/// that reissuing it again cannot sell it twice.
///
/// The unique index covers resolved letters too. An index on open letters only would need another conflict target, and
/// the statements of earlier workers, which run while the schema is upgraded, would fail.
///
/// The rows are distinct, because a statement cannot update one row twice, and sorted, so that transactions do not
/// deadlock.
///
/// Returns the reason of each letter that was stored or opened again.
pub(super) async fn insert_dead_letters(
    connection: &mut PgConnection,
    letters: &[DeadLetter],
    now: Timestamp,
) -> Result<Vec<DeadLetterReason>, sqlx::Error> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    for letter in letters {
        // Without the detail, which may quote a customer's input.
        let (reason, ticket) = (letter.reason.as_str(), letter.ticket.map(tracing::field::display));
        let trace_id = trace_id(letter.trace);
        tracing::error!(reason, ticket.log_id = ticket, trace_id, "storing dead letter: {reason}");
    }
    let tickets: Vec<Option<TicketId>> = letters.iter().map(|letter| letter.ticket).collect();
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    let details: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    let payloads: Vec<&[u8]> = letters.iter().map(|letter| letter.payload.as_slice()).collect();
    let stored = sqlx::query_scalar!(
        r#"
        INSERT INTO dead_letters AS known (ticket_id, reason, detail, payload, created_at)
        SELECT DISTINCT ON (reason, payload) ticket_id, reason, detail, payload, $5
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS letter (ticket_id, reason, detail, payload)
        ORDER BY reason, payload
        ON CONFLICT (reason, sha256(payload)) DO UPDATE
        SET resolution = NULL, resolved_at = NULL, detail = excluded.detail, created_at = excluded.created_at
        WHERE known.resolved_at IS NOT NULL
        RETURNING reason
        "#,
        &tickets as &[Option<TicketId>],
        &reasons as &[&str],
        &details as &[&str],
        &payloads as &[&[u8]],
        now as Timestamp
    )
    .fetch_all(connection)
    .await?;
    let reason_of =
        |stored: &String| letters.iter().map(|letter| letter.reason).find(|it| it.as_str() == stored);
    Ok(stored.iter().filter_map(reason_of).collect())
}

/// Subtracts the sold seats from the counters of their tiers. All sales of a tier share its row, so this lock is the
/// most contended: it is taken last and held only until the commit. An `UPDATE … FROM` alone would lock the rows in the
/// order of its plan, and could deadlock, so a separate statement locks them first. One row needs no order.
pub(super) async fn subtract_sold(connection: &mut PgConnection, sales: &Sales) -> Result<(), sqlx::Error> {
    if sales.sold_count_by_tier.is_empty() {
        return Ok(());
    }
    let (tiers, counts): (Vec<TierId>, Vec<i32>) =
        sales.sold_count_by_tier.iter().map(|(tier, count)| (*tier, *count)).unzip();
    if tiers.len() > 1 {
        sqlx::query!(
            "SELECT id FROM ticket_tiers WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
            &tiers as &[TierId]
        )
        .fetch_all(&mut *connection)
        .await?;
    }
    sqlx::query!(
        r#"
        UPDATE ticket_tiers tier SET available = tier.available - sold.count
        FROM unnest($1::integer[], $2::integer[]) AS sold (id, count)
        WHERE tier.id = sold.id
        "#,
        &tiers as &[TierId],
        &counts
    )
    .execute(connection)
    .await?;
    Ok(())
}
