//! Closes a letter and does nothing about its booking.

use serde::Serialize;
use sqlx::postgres::PgConnection;

use super::{DeadLetterError, Decision};
use crate::domain::{TicketId, Timestamp};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discarded {
    pub id: i64,
    pub resolution: &'static str,
    pub resolved_at: Timestamp,
}

/// The decision must have a reason. It is made at the time `now`.
pub async fn discard(
    connection: &mut PgConnection,
    id: i64,
    decision: Decision,
    now: Timestamp,
) -> Result<Discarded, DeadLetterError> {
    let discarded = sqlx::query!(
        r#"
        UPDATE dead_letters SET resolution = 'discarded', resolved_at = $2, discard_reason = $3, resolved_by = $4
        WHERE id = $1 AND resolution IS NULL AND reissued_as IS NULL
        "#,
        id,
        now as Timestamp,
        decision.reason.unwrap_or_default(),
        decision.by
    )
    .execute(&mut *connection)
    .await?;
    if discarded.rows_affected() == 0 {
        return Err(refusal(connection, id).await?);
    }
    Ok(Discarded { id, resolution: "discarded", resolved_at: now })
}

/// Why the letter was not discarded.
async fn refusal(connection: &mut PgConnection, id: i64) -> Result<DeadLetterError, sqlx::Error> {
    let letter = sqlx::query!(
        r#"SELECT resolution, reissued_as AS "reissued_as: TicketId" FROM dead_letters WHERE id = $1"#,
        id
    )
    .fetch_optional(connection)
    .await?;
    let Some(letter) = letter else { return Ok(DeadLetterError::Unknown(id)) };
    Ok(match (letter.resolution, letter.reissued_as) {
        (Some(resolution), _) => DeadLetterError::AlreadyResolved { id, resolution },
        (None, Some(ticket)) => DeadLetterError::BeingReissued { id, ticket },
        (None, None) => DeadLetterError::Changed(id),
    })
}
