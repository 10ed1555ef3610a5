use hamro_shared::domain::{SeatId, TicketId};
use sqlx::postgres::PgConnection;

/// Takes these seats, which must be locked, out of all their sales, also those that were released, and deletes the sales that have no other seats, with
/// their bookings and the retries that share their outcome.
pub async fn delete_of_seats(connection: &mut PgConnection, seats: &[SeatId]) -> Result<(), sqlx::Error> {
    let mut sales = sqlx::query_scalar!(
        "DELETE FROM sale_seats WHERE seat_id = ANY($1) AND released_at IS NULL RETURNING sale_id",
        seats as &[SeatId]
    )
    .fetch_all(&mut *connection)
    .await?;
    // Two statements, because the indexes are partial.
    let released = sqlx::query_scalar!(
        "DELETE FROM sale_seats WHERE seat_id = ANY($1) AND released_at IS NOT NULL RETURNING sale_id",
        seats as &[SeatId]
    )
    .fetch_all(&mut *connection)
    .await?;
    sales.extend(released);
    sales.sort_unstable();
    sales.dedup();
    // Two concerts that share a sale may be deleted at the same time. Without the locks, each deletion would still see
    // the seats of the other, and neither would delete the sale.
    sqlx::query!("SELECT id FROM sales WHERE id = ANY($1) ORDER BY id FOR UPDATE", &sales)
        .fetch_all(&mut *connection)
        .await?;
    let deleted = sqlx::query!(
        r#"
        DELETE FROM sales sale
        WHERE id = ANY($1) AND NOT EXISTS (SELECT FROM sale_seats WHERE sale_id = sale.id)
        RETURNING id, ticket_id AS "ticket_id: TicketId"
        "#,
        &sales
    )
    .fetch_all(&mut *connection)
    .await?;
    let (deleted, tickets): (Vec<i64>, Vec<TicketId>) =
        deleted.into_iter().map(|sale| (sale.id, sale.ticket_id)).unzip();
    sqlx::query!("DELETE FROM releases WHERE sale_id = ANY($1)", &deleted).execute(&mut *connection).await?;
    sqlx::query!(
        "DELETE FROM bookings WHERE ticket_id = ANY($1) OR alias_of = ANY($1)",
        &tickets as &[TicketId]
    )
    .execute(connection)
    .await?;
    Ok(())
}
