//! `dead-letters discard`: closes a letter and does nothing about its booking.

use std::fmt::{self, Display};

use hamro_shared::domain::{Clock, Timestamp};
use serde::Serialize;
use sqlx::PgPool;

use super::unknown;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discarded {
    id: i64,
    resolution: &'static str,
    resolved_at: Timestamp,
}

pub async fn discard(pool: &PgPool, id: i64, because: &str) -> anyhow::Result<Discarded> {
    let now = Clock::system().now();
    let discarded = sqlx::query!(
        r#"
        UPDATE dead_letters SET resolution = 'discarded', resolved_at = $2, discard_reason = $3
        WHERE id = $1 AND resolution IS NULL AND reissued_as IS NULL
        "#,
        id,
        now as Timestamp,
        because
    )
    .execute(pool)
    .await?;
    if discarded.rows_affected() == 0 {
        return Err(refusal(pool, id).await?);
    }
    Ok(Discarded { id, resolution: "discarded", resolved_at: now })
}

/// Why the letter was not discarded.
async fn refusal(pool: &PgPool, id: i64) -> anyhow::Result<anyhow::Error> {
    let letter = sqlx::query!("SELECT resolution, reissued_as FROM dead_letters WHERE id = $1", id)
        .fetch_optional(pool)
        .await?
        .ok_or_else(|| unknown(id))?;
    Ok(match (letter.resolution, letter.reissued_as) {
        (Some(resolution), _) => anyhow::anyhow!("dead letter {id} was already {resolution}"),
        // Its ticket may be in the queue, so the booking may still be settled.
        (None, Some(ticket)) => anyhow::anyhow!(
            "dead letter {id} is being reissued as ticket {ticket}: run `dead-letters reissue {id}` again to finish"
        ),
        (None, None) => anyhow::anyhow!("dead letter {id} was changed by another process: try again"),
    })
}

impl Display for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dead letter {} is discarded.", self.id)
    }
}
