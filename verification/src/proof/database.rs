//! Compares what clients were told with the database.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Row};
use uuid::Uuid;

use super::Proof;
use crate::contract::buyer_of;
use crate::invariant::{Invariant, Violations};
use crate::journal::Header;
use crate::request_log::{RecordedOutcome, RequestLog};
use crate::run_log::RunLog;

/// Tickets per query.
const CHUNK: usize = 10_000;

/// Descriptions of inconsistencies in these concerts, each with a query that counts them.
const BROKEN: [(&str, &str); 3] = [
    (
        "seats are in two live sales",
        "SELECT count(*) FROM (SELECT FROM sale_seats l JOIN seats s ON s.id = l.seat_id
         WHERE s.concert_id = ANY($1) AND l.released_at IS NULL GROUP BY l.seat_id HAVING count(*) > 1) t",
    ),
    (
        "seats are marked as sold without a live sale, or in one and not marked",
        "SELECT count(*) FROM seats s LEFT JOIN sale_seats l ON l.seat_id = s.id AND l.released_at IS NULL
         WHERE s.concert_id = ANY($1) AND (s.booked_at IS NOT NULL) <> (l.seat_id IS NOT NULL)",
    ),
    (
        "tiers have counters that differ from their seats",
        "SELECT count(*) FROM ticket_tiers t
         JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE booked_at IS NULL) AS available
                       FROM seats WHERE ticket_tier_id = t.id) s ON true
         WHERE t.concert_id = ANY($1) AND (t.total <> s.total OR t.available <> s.available)",
    ),
];

/// Adds differences to the proof. If the database cannot be read, the proof fails.
pub(super) async fn compare(
    proof: &mut Proof,
    run_log: &RunLog,
    header: &Header,
    options: &PgConnectOptions,
) {
    proof.by_sql = true;
    if let Err(error) = compare_all(&mut proof.violations, run_log, header, options).await {
        proof.violations.add(Invariant::DatabaseAgrees, format!("the database cannot be read: {error:#}"));
    }
}

async fn compare_all(
    violations: &mut Violations,
    run_log: &RunLog,
    header: &Header,
    options: &PgConnectOptions,
) -> Result<()> {
    let mut connection = options.connect().await.context("connecting to DATABASE_URL")?;
    let concerts: Vec<Uuid> = header.concerts.iter().map(|concert| concert.id).collect();
    for (broken, query) in BROKEN {
        let count: i64 = sqlx::query_scalar(query).bind(&concerts).fetch_one(&mut connection).await?;
        if count > 0 {
            violations.add(Invariant::DatabaseAgrees, format!("{count} {broken}"));
        }
    }
    let tickets = run_log.request_log().tickets();
    for chunk in tickets.chunks(CHUNK) {
        let rows = rows_of(&mut connection, chunk).await?;
        compare_tickets(violations, &run_log.request_log(), chunk, &rows);
    }
    let sales = sales_of(&mut connection, &concerts).await?;
    compare_sales(violations, &run_log.request_log(), header, &sales);
    Ok(())
}

/// The row of each ticket: its status and its sale.
async fn rows_of(
    connection: &mut PgConnection,
    tickets: &[Uuid],
) -> Result<HashMap<Uuid, (String, Option<i64>)>> {
    let rows = sqlx::query("SELECT ticket_id, status, sale_id FROM bookings WHERE ticket_id = ANY($1)")
        .bind(tickets)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("ticket_id")?, (row.try_get("status")?, row.try_get("sale_id")?))))
        .collect()
}

fn compare_tickets(
    violations: &mut Violations,
    request_log: &RequestLog,
    tickets: &[Uuid],
    rows: &HashMap<Uuid, (String, Option<i64>)>,
) {
    for ticket in tickets {
        let Some(end) = request_log.end_of(*ticket) else { continue };
        let agrees = match (rows.get(ticket), end) {
            (Some((status, sale)), RecordedOutcome::Sold { sale: told, .. }) => {
                status == "confirmed" && *sale == Some(told)
            }
            (Some((status, _)), RecordedOutcome::NotSold { end, .. }) => {
                **status == *request_log.not_sold(end).status
            }
            (None, _) => false,
        };
        if !agrees {
            let has = rows.get(ticket).map_or_else(
                || "has no row for it".to_owned(),
                |(status, sale)| format!("has it as {status}, sale {sale:?}"),
            );
            let what = format!(
                "ticket {ticket} was reported as {}, but the database {has}",
                request_log.describe(end)
            );
            violations.add(Invariant::DatabaseAgrees, what);
        }
    }
}

/// A sale that has seats of these concerts.
struct LiveSale {
    ticket: Uuid,
    email: String,
    /// In the order of the customer's request.
    seats: Vec<i32>,
}

async fn sales_of(connection: &mut PgConnection, concerts: &[Uuid]) -> Result<BTreeMap<i64, LiveSale>> {
    let mut sales: BTreeMap<i64, LiveSale> = BTreeMap::new();
    let mut rows = sqlx::query(
        "SELECT sale.id, sale.ticket_id, sale.user_email, sold.seat_id
         FROM seats seat
         JOIN sale_seats sold ON sold.seat_id = seat.id AND sold.released_at IS NULL
         JOIN sales sale ON sale.id = sold.sale_id
         WHERE seat.concert_id = ANY($1)
         ORDER BY sale.id, sold.position",
    )
    .bind(concerts)
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (ticket, email) = (row.try_get("ticket_id")?, row.try_get("user_email")?);
        let sale = sales.entry(row.try_get("id")?).or_insert(LiveSale { ticket, email, seats: Vec::new() });
        sale.seats.push(row.try_get("seat_id")?);
    }
    Ok(sales)
}

/// Checks that every sale was requested with exactly its seats, and was reported to its buyer. A sale with an unknown
/// ticket must belong to a request without a response.
fn compare_sales(
    violations: &mut Violations,
    request_log: &RequestLog,
    header: &Header,
    sales: &BTreeMap<i64, LiveSale>,
) {
    let mut ambiguous: HashMap<(u64, &[i32]), u32> = HashMap::new();
    for request in request_log.requests.iter().filter(|request| request.is_ambiguous) {
        *ambiguous.entry((request.intent.buyer, &request.intent.seats)).or_default() += 1;
    }
    for (id, sale) in sales {
        let Some(buyer) = buyer_of(&header.name, &sale.email) else {
            if header.is_exclusive {
                let what = format!("sale {id} belongs to no buyer of this run: {}", sale.email);
                violations.add(Invariant::DatabaseAgrees, what);
            }
            continue;
        };
        let is_known = match request_log.request(sale.ticket) {
            Some(request) => {
                let was_told = matches!(request.end, Some(RecordedOutcome::Sold { sale, .. }) if sale == *id);
                request.intent.buyer == buyer
                    && *request.intent.seats == *sale.seats
                    && (was_told || request.is_ambiguous)
            }
            None => match ambiguous.get_mut(&(buyer, sale.seats.as_slice())) {
                // Each such request may have had one effect.
                Some(left) if *left > 0 => {
                    *left -= 1;
                    true
                }
                _ => !request_log.is_complete,
            },
        };
        if !is_known {
            let what = format!("sale {id} of seats {:?} was not reported to buyer {buyer}", sale.seats);
            violations.add(Invariant::DatabaseAgrees, what);
        }
    }
}
