//! `hamro-api person export`: everything that the database stores about a person, as JSON.

use std::collections::HashMap;

use hamro_shared::domain::{ConcertId, Email, SeatId, TicketId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::not_a_placeholder;
use super::stored::{find_letters, find_spellings};

#[derive(clap::Args)]
pub struct Arguments {
    /// The person's e-mail address; case does not matter
    #[arg(long, value_name = "ADDRESS", value_parser = Email::parse)]
    email: Email,
}

/// The exported document. docs/RUNBOOK.md describes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    email: String,
    exported_at: Timestamp,
    sales: Vec<Sale>,
    bookings: Vec<Booking>,
    dead_letters: Vec<DeadLetter>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sale {
    id: i64,
    ticket_id: TicketId,
    user_name: String,
    user_email: String,
    sold_at: Timestamp,
    seats: Vec<SoldSeat>,
    releases: Vec<Release>,
}

/// Seats that an administrator has taken back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Release {
    released_at: Timestamp,
    seat_ids: Vec<SeatId>,
    reason: String,
}

/// A seat of a sale. What the catalogue no longer has is `null`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SoldSeat {
    seat_id: SeatId,
    price: String,
    seat_number: Option<String>,
    row: Option<i32>,
    section: Option<String>,
    concert_id: Option<ConcertId>,
    concert: Option<String>,
    concert_date: Option<String>,
    released_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Booking {
    ticket_id: TicketId,
    submitted_at: Timestamp,
    status: String,
    settled_at: Timestamp,
    user_name: Option<String>,
    user_email: Option<String>,
    sale_id: Option<i64>,
    /// The ticket whose outcome this one shares.
    alias_of: Option<TicketId>,
    rejection: Option<Value>,
}

/// A dead letter that mentions the person.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetter {
    id: i64,
    created_at: Timestamp,
    ticket_id: Option<TicketId>,
    reason: String,
    detail: String,
    /// The message, if it is JSON, or else its text.
    payload: Value,
    resolution: Option<String>,
    resolved_at: Option<Timestamp>,
    discard_reason: Option<String>,
    reissued_as: Option<TicketId>,
}

/// `None` if nothing is stored about the person.
pub async fn export(connection: &mut PgConnection, arguments: &Arguments) -> anyhow::Result<Option<Export>> {
    let address = not_a_placeholder(&arguments.email)?;
    // One read-only snapshot for all tables.
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let exported_at =
        sqlx::query_scalar!(r#"SELECT now() AS "now!: Timestamp""#).fetch_one(&mut *transaction).await?;
    let spellings = find_spellings(&mut transaction, &address).await?;
    let letters: Vec<i64> =
        find_letters(&mut transaction, &address).await?.into_iter().map(|letter| letter.id).collect();
    if spellings.is_empty() && letters.is_empty() {
        return Ok(None);
    }
    let sales = sales(&mut transaction, &spellings).await?;
    let bookings = bookings(&mut transaction, &spellings, &letters).await?;
    let dead_letters = dead_letters(&mut transaction, &letters).await?;
    Ok(Some(Export { email: address, exported_at, sales, bookings, dead_letters }))
}

async fn sales(connection: &mut PgConnection, spellings: &[String]) -> Result<Vec<Sale>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT id, ticket_id AS "ticket_id: TicketId", user_name, user_email, created_at AS "created_at: Timestamp"
        FROM sales WHERE user_email = ANY($1) ORDER BY id
        "#,
        spellings
    )
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut seats = sold_seats(connection, &ids).await?;
    let mut releases = releases(connection, &ids).await?;
    let sales = rows.into_iter().map(|row| Sale {
        id: row.id,
        ticket_id: row.ticket_id,
        user_name: row.user_name,
        user_email: row.user_email,
        sold_at: row.created_at,
        seats: seats.remove(&row.id).unwrap_or_default(),
        releases: releases.remove(&row.id).unwrap_or_default(),
    });
    Ok(sales.collect())
}

/// The seats of these sales, by sale.
async fn sold_seats(
    connection: &mut PgConnection,
    sales: &[i64],
) -> Result<HashMap<i64, Vec<SoldSeat>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT sold.sale_id, sold.seat_id AS "seat_id: SeatId", sold.price::text AS "price!",
               sold.released_at AS "released_at: Timestamp",
               sold.seat_number, sold."row", sold.section, sold.concert_id AS "concert_id: ConcertId",
               concerts.title AS "title?", concerts.date::text AS "date?"
        FROM sale_seats sold
        LEFT JOIN concerts ON concerts.id = sold.concert_id
        WHERE sold.sale_id = ANY($1)
        ORDER BY sold.sale_id, sold.position
        "#,
        sales
    )
    .fetch_all(connection)
    .await?;
    let mut seats: HashMap<i64, Vec<SoldSeat>> = HashMap::new();
    for row in rows {
        seats.entry(row.sale_id).or_default().push(SoldSeat {
            seat_id: row.seat_id,
            price: row.price,
            seat_number: row.seat_number,
            row: row.row,
            section: row.section,
            concert_id: row.concert_id,
            concert: row.title,
            concert_date: row.date,
            released_at: row.released_at,
        });
    }
    Ok(seats)
}

/// The releases of these sales, by sale.
async fn releases(
    connection: &mut PgConnection,
    sales: &[i64],
) -> Result<HashMap<i64, Vec<Release>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT sale_id, released_at AS "released_at: Timestamp", seat_ids AS "seat_ids: Vec<SeatId>", reason
        FROM releases
        WHERE sale_id = ANY($1)
        ORDER BY id
        "#,
        sales
    )
    .fetch_all(connection)
    .await?;
    let mut releases: HashMap<i64, Vec<Release>> = HashMap::new();
    for row in rows {
        let (released_at, seat_ids, reason) = (row.released_at, row.seat_ids, row.reason);
        releases.entry(row.sale_id).or_default().push(Release { released_at, seat_ids, reason });
    }
    Ok(releases)
}

/// The bookings with the address, and those of these dead letters: a booking that failed has neither name nor address.
async fn bookings(
    connection: &mut PgConnection,
    spellings: &[String],
    letters: &[i64],
) -> Result<Vec<Booking>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT ticket_id AS "ticket_id: TicketId", status, settled_at AS "settled_at: Timestamp", user_name, user_email,
               sale_id, alias_of AS "alias_of: TicketId", rejection
        FROM bookings
        WHERE user_email = ANY($1)
            OR (user_email IS NULL AND ticket_id IN (SELECT ticket_id FROM dead_letters WHERE id = ANY($2)))
        ORDER BY ticket_id
        "#,
        spellings,
        letters
    )
    .fetch_all(connection)
    .await?;
    let bookings = rows.into_iter().map(|row| Booking {
        ticket_id: row.ticket_id,
        submitted_at: row.ticket_id.issued_at(),
        status: row.status,
        settled_at: row.settled_at,
        user_name: row.user_name,
        user_email: row.user_email,
        sale_id: row.sale_id,
        alias_of: row.alias_of,
        rejection: row.rejection,
    });
    Ok(bookings.collect())
}

async fn dead_letters(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT id, created_at AS "created_at: Timestamp", ticket_id AS "ticket_id: TicketId", reason, detail, payload,
               resolution, resolved_at AS "resolved_at: Timestamp", discard_reason, reissued_as AS "reissued_as: TicketId"
        FROM dead_letters WHERE id = ANY($1) ORDER BY id
        "#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let letters = rows.into_iter().map(|row| DeadLetter {
        id: row.id,
        created_at: row.created_at,
        ticket_id: row.ticket_id,
        reason: row.reason,
        detail: row.detail,
        payload: serde_json::from_slice(&row.payload)
            .unwrap_or_else(|_| String::from_utf8_lossy(&row.payload).into()),
        resolution: row.resolution,
        resolved_at: row.resolved_at,
        discard_reason: row.discard_reason,
        reissued_as: row.reissued_as,
    });
    Ok(letters.collect())
}
