use sqlx::postgres::PgConnection;

use crate::catalogue::ticket_type::TicketType;

pub async fn list(connection: &mut PgConnection) -> Result<Vec<TicketType>, sqlx::Error> {
    sqlx::query_as!(TicketType, "SELECT id, name FROM ticket_types WHERE NOT hidden ORDER BY id")
        .fetch_all(connection)
        .await
}

/// Violates `ticket_types_name` if there is a ticket type with this name.
pub async fn insert(connection: &mut PgConnection, name: String) -> Result<TicketType, sqlx::Error> {
    sqlx::query_as!(TicketType, "INSERT INTO ticket_types (name) VALUES ($1) RETURNING id, name", name)
        .fetch_one(connection)
        .await
}

/// Deletes the ticket type. Returns whether it existed. Violates `ticket_tiers_ticket_type` if a tier has it.
pub async fn delete(connection: &mut PgConnection, id: i32) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query!("DELETE FROM ticket_types WHERE id = $1", id).execute(connection).await?;
    Ok(deleted.rows_affected() > 0)
}
