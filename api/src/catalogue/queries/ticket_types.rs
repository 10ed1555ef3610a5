use sqlx::postgres::PgConnection;

use crate::catalogue::ticket_type::TicketType;

pub async fn list(connection: &mut PgConnection) -> Result<Vec<TicketType>, sqlx::Error> {
    sqlx::query_as!(TicketType, "SELECT id, name FROM ticket_types ORDER BY id").fetch_all(connection).await
}

/// Violates `ticket_types_name` if there is a ticket type with this name.
pub async fn insert(connection: &mut PgConnection, name: String) -> Result<TicketType, sqlx::Error> {
    sqlx::query_as!(TicketType, "INSERT INTO ticket_types (name) VALUES ($1) RETURNING id, name", name)
        .fetch_one(connection)
        .await
}
