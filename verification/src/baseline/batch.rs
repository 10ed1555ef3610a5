//! The statements of a worker's transaction, with prepared values.
//!
//! The texts are those of the worker (`worker/src/settlement/`), and a test compares them with its query metadata.
//! Nothing is received, decoded, decided, announced or acknowledged.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use hamro_shared::domain::Clock;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, types::Uuid};

/// In the order of the transaction.
const LOCK_SEATS: &str = r#"
            SELECT id AS "id: SeatId", concert_id AS "concert_id: ConcertId", ticket_tier_id AS "tier_id: TierId",
                   section, "row", seat_number, booked_at IS NOT NULL AS "is_sold!", free_from AS "free_from: Timestamp"
            FROM seats
            WHERE id = ANY($1)
            ORDER BY id
            FOR UPDATE OF seats "#;
const READ_PRIOR_TICKETS: &str =
    r#"SELECT ticket_id AS "ticket_id: TicketId", request_hash FROM bookings WHERE ticket_id = ANY($1)"#;
const READ_INVENTORY: &str = r#"
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
        "#;
const INSERT_SALES: &str = r#"
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
        "#;
const INSERT_BOOKINGS: &str = r"
        INSERT INTO bookings (ticket_id, status, settled_at, request_hash, user_name, user_email, idempotency_digest,
                              alias_of, sale_id, rejection)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bytea[], $5::text[], $6::text[],
                             $7::bytea[], $8::uuid[], $9::bigint[], $10::jsonb[])
        ";
const LOCK_TIERS: &str = "SELECT id FROM ticket_tiers WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
const SUBTRACT_SOLD: &str = r"
        UPDATE ticket_tiers tier SET available = tier.available - sold.count
        FROM unnest($1::integer[], $2::integer[]) AS sold (id, count)
        WHERE tier.id = sold.id
        ";

/// What one transaction writes: each booking sells its seats to a customer of its own.
#[derive(Default)]
pub struct PreparedBatch {
    tickets: Vec<Uuid>,
    hashes: Vec<Vec<u8>>,
    names: Vec<String>,
    emails: Vec<String>,
    /// Digests of the customers.
    customers: Vec<Vec<u8>>,
    /// For each seat, the number of its booking within this batch, from 1.
    sale: Vec<i32>,
    /// For each seat, its position within its booking.
    position: Vec<i16>,
    seats: Vec<i32>,
    prices: Vec<Decimal>,
}

impl PreparedBatch {
    /// Prepares the bookings of these seats.
    pub fn new(bookings: &[impl AsRef<[i32]>]) -> Self {
        let mut batch = Self::default();
        for (sale, seats) in (1..).zip(bookings) {
            let ticket = ticket();
            batch.tickets.push(ticket);
            batch.hashes.push([ticket.into_bytes(), ticket.into_bytes()].concat());
            batch.names.push(format!("Buyer {sale}"));
            batch.emails.push(format!("buyer{sale}@example.com"));
            batch.customers.push(ticket.into_bytes().to_vec());
            for (position, seat) in (0..).zip(seats.as_ref()) {
                batch.sale.push(sale);
                batch.position.push(position);
                batch.seats.push(*seat);
                batch.prices.push(Decimal::TEN);
            }
        }
        batch
    }

    /// The number of bookings.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Executes the transaction. Requires that the seats are free.
    pub async fn settle(&self, connection: &mut PgConnection) -> Result<()> {
        let mut transaction = connection.begin().await?;
        let locked = sqlx::query(LOCK_SEATS).bind(&self.seats).fetch_all(&mut *transaction).await?;
        let locked = self.in_order_of_sale(locked)?;
        sqlx::query(READ_PRIOR_TICKETS).bind(&self.tickets).fetch_all(&mut *transaction).await?;
        let mut concerts = column::<Uuid>(&locked, 1)?;
        concerts.sort_unstable();
        concerts.dedup();
        sqlx::query(READ_INVENTORY).bind(concerts).fetch_all(&mut *transaction).await?;
        let sales = self.insert_sales(&mut transaction, &locked).await?;
        self.insert_bookings(&mut transaction, &sales).await?;
        subtract_sold(&mut transaction, column::<i32>(&locked, 2)?).await?;
        Ok(transaction.commit().await?)
    }

    /// The locked rows in the order of the sold seats.
    fn in_order_of_sale(&self, locked: Vec<PgRow>) -> Result<Vec<PgRow>> {
        let ids = column::<i32>(&locked, 0)?;
        let mut by_seat: HashMap<i32, PgRow> = ids.into_iter().zip(locked).collect();
        self.seats.iter().map(|seat| by_seat.remove(seat).context("a seat does not exist")).collect()
    }

    /// `locked` describes the sold seats.
    async fn insert_sales(&self, connection: &mut PgConnection, locked: &[PgRow]) -> Result<Vec<i64>> {
        sqlx::query_scalar(INSERT_SALES)
            .bind(&self.tickets)
            .bind(&self.names)
            .bind(&self.emails)
            .bind(&self.sale)
            .bind(&self.position)
            .bind(&self.seats)
            .bind(&self.prices)
            .bind(column::<Uuid>(locked, 1)?)
            .bind(column::<i32>(locked, 2)?)
            .bind(column::<&str>(locked, 3)?)
            .bind(column::<i32>(locked, 4)?)
            .bind(column::<&str>(locked, 5)?)
            .bind(Clock::system().now().datetime())
            .bind(&self.customers)
            .bind(vec![None::<Vec<u8>>; self.len()])
            .fetch_one(connection)
            .await
            .context("inserting sales")
    }

    async fn insert_bookings(&self, connection: &mut PgConnection, sales: &[i64]) -> Result<()> {
        let count = self.len();
        sqlx::query(INSERT_BOOKINGS)
            .bind(&self.tickets)
            .bind(vec!["confirmed"; count])
            .bind(vec![Clock::system().now().datetime(); count])
            .bind(&self.hashes)
            .bind(&self.names)
            .bind(&self.emails)
            .bind(vec![None::<Vec<u8>>; count])
            .bind(vec![None::<Uuid>; count])
            .bind(sales)
            .bind(vec![None::<Value>; count])
            .execute(connection)
            .await
            .context("inserting bookings")?;
        Ok(())
    }
}

/// `tiers` has the tier of each sold seat.
async fn subtract_sold(connection: &mut PgConnection, tiers: Vec<i32>) -> Result<()> {
    let mut sold = BTreeMap::<i32, i32>::new();
    for tier in tiers {
        *sold.entry(tier).or_default() += 1;
    }
    let (tiers, counts): (Vec<i32>, Vec<i32>) = sold.into_iter().unzip();
    if tiers.len() > 1 {
        sqlx::query(LOCK_TIERS).bind(&tiers).fetch_all(&mut *connection).await?;
    }
    sqlx::query(SUBTRACT_SOLD).bind(&tiers).bind(&counts).execute(connection).await?;
    Ok(())
}

fn column<'r, T>(rows: &'r [PgRow], index: usize) -> Result<Vec<T>>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(rows.iter().map(|row| row.try_get(index)).collect::<Result<_, sqlx::Error>>()?)
}

/// An id that sorts by time, like the ids of tickets. Random ids would be scattered over the whole index.
fn ticket() -> Uuid {
    let millis = u128::from(Clock::system().now().unix_millis().unsigned_abs());
    Uuid::from_u128(millis << 80 | rand::random::<u128>() >> 48)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_statement_is_one_of_the_worker() {
        let metadata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sqlx");
        let texts: BTreeSet<String> = fs::read_dir(metadata)
            .unwrap()
            .map(|file| {
                let query: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
                query["query"].as_str().unwrap().to_owned()
            })
            .collect();
        for statement in [
            LOCK_SEATS,
            READ_PRIOR_TICKETS,
            READ_INVENTORY,
            INSERT_SALES,
            INSERT_BOOKINGS,
            LOCK_TIERS,
            SUBTRACT_SOLD,
        ] {
            assert!(texts.contains(statement), "no query of the worker has this text:\n{statement}");
        }
    }
}
