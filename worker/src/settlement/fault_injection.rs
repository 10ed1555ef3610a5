//! What a worker does that breaks a rule, when a test has it do so: see `hamro_shared::faults`.

use hamro_shared::domain::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;

use super::batch::BookingCommand;

/// Locks the seats in the order that the customers gave.
pub(super) async fn lock_as_they_come(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
) -> Result<(), sqlx::Error> {
    for seat in commands.iter().flat_map(|command| command.request.seat_ids()) {
        sqlx::query("SELECT FROM seats WHERE id = $1 FOR UPDATE")
            .bind(seat.0)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// As if an outcome were written over the one that stands.
pub(super) async fn forget_settled(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
) -> Result<(), sqlx::Error> {
    let tickets: Vec<Uuid> = commands.iter().map(|command| command.ticket.id.0).collect();
    sqlx::query("DELETE FROM bookings WHERE ticket_id = ANY($1)").bind(tickets).execute(connection).await?;
    Ok(())
}

/// A moment at which no deadline has passed.
pub(super) fn before_all_deadlines() -> Timestamp {
    sqlx::types::chrono::DateTime::UNIX_EPOCH.into()
}
