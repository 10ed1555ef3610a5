//! A seat, as it is shown and as it is read.

use hamro_shared::domain::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgPool;
use sqlx::types::chrono::{DateTime, Utc};
use utoipa::ToSchema;
use uuid::Uuid;

/// A seat. Whose it is, if it is anybody's, is shown to nobody.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    #[schema(example = 4)]
    pub id: i32,
    pub concert_id: Uuid,
    #[schema(example = 1)]
    pub ticket_tier_id: i32,
    #[schema(example = "V-4")]
    pub seat_number: String,
    #[schema(example = 2)]
    pub row: i32,
    #[schema(example = "vip")]
    pub section: String,
    pub is_booked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub booked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A seat as the database has it.
pub struct SeatRow {
    pub id: i32,
    pub concert_id: Uuid,
    pub ticket_tier_id: i32,
    pub seat_number: String,
    pub row: i32,
    pub section: String,
    pub booked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<SeatRow> for Seat {
    fn from(row: SeatRow) -> Self {
        Self {
            id: row.id,
            concert_id: row.concert_id,
            ticket_tier_id: row.ticket_tier_id,
            seat_number: row.seat_number,
            row: row.row,
            section: row.section,
            is_booked: row.booked_at.is_some(),
            booked_at: row.booked_at.map(Into::into),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

impl SeatRow {
    /// The seats of a concert in the order of their ids, or only those that nobody has; `None` if there is no such
    /// concert.
    pub async fn of_concert(
        pool: &PgPool,
        concert: Uuid,
        only_free: bool,
    ) -> Result<Option<Vec<Seat>>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Self,
            r#"
            SELECT id, concert_id, ticket_tier_id, seat_number, "row", section, booked_at, created_at, updated_at
            FROM seats
            WHERE concert_id = $1 AND (booked_at IS NULL OR NOT $2)
            ORDER BY id
            "#,
            concert,
            only_free
        )
        .fetch_all(pool)
        .await?;
        if rows.is_empty() {
            let exists = sqlx::query_scalar!("SELECT id FROM concerts WHERE id = $1", concert);
            if exists.fetch_optional(pool).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(rows.into_iter().map(Seat::from).collect()))
    }
}
