//! Reads the seats of a concert from the database.

use std::collections::HashMap;

use hamro_shared::domain::{ConcertId, SeatId};
use sqlx::postgres::PgConnection;

use super::version::{SeatMapVersion, concert_exists};

/// The seats of a concert, as they are in the database.
pub struct StoredSeats {
    pub concert_exists: bool,
    pub version: SeatMapVersion,
    /// Whether each seat is booked.
    pub booked_by_seat: HashMap<SeatId, bool>,
}

impl StoredSeats {
    pub async fn load(connection: &mut PgConnection, concert: ConcertId) -> Result<Self, sqlx::Error> {
        // The version first: if a sale is committed between the queries, the seats are newer than the version, and the
        // next comparison notices.
        let version = SeatMapVersion::load(connection, concert).await?;
        let seats = sqlx::query!(
            r#"
            SELECT id AS "id: SeatId", booked_at IS NOT NULL AS "is_booked!"
            FROM seats
            WHERE concert_id = $1 AND NOT EXISTS (SELECT FROM concerts WHERE id = $1 AND hidden)
            "#,
            concert as ConcertId
        )
        .fetch_all(&mut *connection)
        .await?;
        let concert_exists = !seats.is_empty() || concert_exists(connection, concert).await?;
        let booked_by_seat = seats.into_iter().map(|seat| (seat.id, seat.is_booked)).collect();
        Ok(Self { concert_exists, version, booked_by_seat })
    }
}
