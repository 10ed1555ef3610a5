//! Deletes rejected bookings some time after their tickets were issued.
//!
//! A flood of bookings for seats that are sold leaves one row each, and nothing else bounds their number.
//!
//! An instance that finds no row for a ticket past its deadline would conclude that the ticket was never settled, and
//! insert `expired`: a second final status. So the time until which rejections are deleted is stored first.

use hamro_shared::database::tickets;
use hamro_shared::domain::{TicketId, Timestamp};
use sqlx::postgres::PgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use super::{BLOCK, paced};

/// Deletes rejections of tickets that were issued until `cutoff`. Returns how many.
pub async fn delete(connection: &mut PgConnection, cutoff: Timestamp) -> Result<i64, sqlx::Error> {
    tickets::announce_deletion(connection, cutoff).await?;
    // A statement that began before that may still insert `expired`. By then it finds the row that is to be deleted.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing says when the statements of other sessions have ended"
    )]
    sleep(tickets::EXPIRY_LIMIT).await;
    let (mut deleted, mut last) = (0, TicketId(Uuid::nil()));
    let mut blocks = paced();
    loop {
        blocks.tick().await;
        let block = sqlx::query!(
            r#"
            WITH block AS (
                SELECT ticket_id FROM bookings WHERE ticket_id > $1 AND ticket_id <= $2 ORDER BY ticket_id LIMIT $3
            ), deleted AS (
                DELETE FROM bookings USING block
                WHERE bookings.ticket_id = block.ticket_id AND bookings.status = 'rejected'
                RETURNING 1
            )
            SELECT (SELECT ticket_id FROM block ORDER BY ticket_id DESC LIMIT 1) AS "last: TicketId",
                   (SELECT count(*) FROM deleted) AS "deleted!"
            "#,
            last as TicketId,
            TicketId::last_of(cutoff) as TicketId,
            BLOCK
        )
        .fetch_one(&mut *connection)
        .await?;
        deleted += block.deleted;
        let Some(ticket) = block.last else { return Ok(deleted) };
        last = ticket;
    }
}
