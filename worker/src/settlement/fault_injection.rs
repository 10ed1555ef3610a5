//! Disables safeguards of the settlement, for tests only: see `hamro_shared::faults`.

use std::time::Duration;

use hamro_shared::faults::{Safeguard, is_disabled};
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;

use super::batch::{Batch, BookingCommand};

/// Far enough in the future that no booking of a test expires.
const NO_DEADLINE: Duration = Duration::from_hours(24);

/// Disables the safeguards that `HAMRO_FAULTS` names, for this transaction. Returns the batch to settle in it.
pub(super) async fn disable_safeguards(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Batch, sqlx::Error> {
    let mut batch = batch.clone();
    if is_disabled(Safeguard::SeatLockOrder) {
        lock_in_request_order(connection, &batch.commands).await?;
    }
    if is_disabled(Safeguard::PriorOutcomes) {
        delete_outcomes(connection, &batch.commands).await?;
    }
    if is_disabled(Safeguard::Deadline) {
        for command in &mut batch.commands {
            command.ticket.deadline = command.ticket.deadline + NO_DEADLINE;
        }
    }
    Ok(batch)
}

/// Locks the seats in the order in which the customers listed them.
async fn lock_in_request_order(
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

/// As if outcomes were overwritten.
async fn delete_outcomes(
    connection: &mut PgConnection,
    commands: &[BookingCommand],
) -> Result<(), sqlx::Error> {
    let tickets: Vec<Uuid> = commands.iter().map(|command| command.ticket.id.0).collect();
    sqlx::query("DELETE FROM bookings WHERE ticket_id = ANY($1)").bind(tickets).execute(connection).await?;
    Ok(())
}
