//! The limit of seats per customer and concert, over all bookings (decision 22).
//!
//! Two batches that sell different seats to one customer must not both count the same earlier seats. So each locks its
//! customers first, after its seats, in the order of their concerts and digests, and then counts what they hold. Where no
//! concert of a batch has a limit, no statement is added.

use std::num::NonZeroU32;

use hamro_shared::config::Env;
use hamro_shared::domain::{ConcertId, CustomerDigest, CustomerDigests};
use sqlx::postgres::PgConnection;

use super::allocation::{Holdings, Inventory, PriorDecisions};
use super::batch::BookingCommand;

/// The limit that applies to concerts without one of their own, and how customers are told apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct CustomerLimit {
    pub seats: Option<NonZeroU32>,
    /// Whether `alice+friends@…` is the customer `alice@…`.
    pub ignore_tags: bool,
}

impl CustomerLimit {
    pub fn read(env: &mut Env) -> Option<Self> {
        let seats = env
            .variable(
                "SEATS_PER_CUSTOMER",
                "Maximum number of seats of a concert that one customer may hold over all bookings, for concerts without a \
                 `seatsPerCustomer` of their own. The same on all workers; by default there is no limit.",
                "a number such as 6",
            )
            .optional();
        let ignore_tags = env
            .variable(
                "IGNORE_EMAIL_TAGS",
                "Whether the limit of seats per customer counts alice+friends@example.com as alice@example.com. The same on \
                 all workers.",
                "true or false",
            )
            .or_default("false");
        Some(Self { seats: seats?, ignore_tags: ignore_tags? })
    }
}

/// Locks the customers whose limits may have to be judged, until the transaction ends, and counts the seats that they hold.
pub(super) async fn lock_customers(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
    inventory: &mut Inventory,
    prior: &PriorDecisions,
) -> Result<(), sqlx::Error> {
    let (concerts, digests): (Vec<_>, Vec<_>) =
        inventory.limited_customers(commands, prior).into_iter().unzip();
    if digests.is_empty() {
        return Ok(());
    }
    // Rows are inserted or locked in the order of the arrays. `WHERE false` locks a row without a new version of it.
    sqlx::query!(
        r#"
        INSERT INTO customer_locks (concert_id, customer_digest) SELECT * FROM unnest($1::uuid[], $2::bytea[])
        ON CONFLICT (concert_id, customer_digest) DO UPDATE SET concert_id = excluded.concert_id WHERE false
        "#,
        &concerts as &[ConcertId],
        &digests as &[CustomerDigest]
    )
    .execute(&mut *connection)
    .await?;
    count_seats(connection, &concerts, &digests, &mut inventory.holdings).await
}

/// Counts the seats that the locked customers hold. In a statement of its own, which sees what was committed before the
/// locks were acquired.
async fn count_seats(
    connection: &mut PgConnection,
    concerts: &[ConcertId],
    digests: &[CustomerDigest],
    holdings: &mut Holdings,
) -> Result<(), sqlx::Error> {
    // Each customer and each sale is looked up in an index, whatever Postgres assumes about the size of the tables: it would scan
    // one that was empty when the statement was planned. So the joins are lateral, and no condition suits another index.
    let rows = sqlx::query!(
        r#"
        SELECT customer.concert_id AS "concert_id!: ConcertId", customer.digest AS "mailbox!: CustomerDigest",
               sale.tagged_digest AS "tagged?: CustomerDigest", held.seats AS "seats!"
        FROM unnest($1::uuid[], $2::bytea[]) AS customer (concert_id, digest)
        CROSS JOIN LATERAL (
            SELECT id, tagged_digest FROM sales WHERE customer_digest = customer.digest OFFSET 0
        ) sale
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE concert_id = customer.concert_id AND released_at IS NULL) AS seats
            FROM sale_seats WHERE sale_id = sale.id
        ) held
        "#,
        concerts as &[ConcertId],
        digests as &[CustomerDigest]
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let customer = CustomerDigests { mailbox: row.mailbox, tagged: row.tagged };
        holdings.add(row.concert_id, customer, u32::try_from(row.seats).unwrap_or(u32::MAX));
    }
    Ok(())
}
