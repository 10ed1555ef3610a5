//! Detects whether the seats of a concert have changed, without reading them.

use std::collections::HashMap;

use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;

/// The version of a concert's seats.
#[derive(Clone, Debug, Default)]
pub struct SeatMapVersion {
    /// Changes with every transaction that sells, adds or removes seats.
    pub tag: String,
    /// How many seats are available.
    pub available: usize,
    /// How many seats there are.
    pub total: usize,
}

impl SeatMapVersion {
    /// Loads the version of one concert's seats.
    pub async fn load(connection: &mut PgConnection, concert: ConcertId) -> Result<Self, sqlx::Error> {
        Ok(Self::load_all(connection, &[concert]).await?.remove(&concert).unwrap_or_default())
    }

    /// Loads the versions of several concerts' seats. A concert without tiers has none, nor has a hidden one.
    ///
    /// Every transaction that changes a seat also updates the counters of its tier, and `xmin` identifies the
    /// transaction that wrote a row, within one epoch of the database.
    pub async fn load_all(
        connection: &mut PgConnection,
        concerts: &[ConcertId],
    ) -> Result<HashMap<ConcertId, Self>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            SELECT concert_id AS "concert_id: ConcertId",
                   md5(concat((SELECT epoch FROM installation_epoch),
                              string_agg(concat_ws(':', id, xmin, total, available), ',' ORDER BY id))) AS "tag!",
                   sum(available) AS "available!", sum(total) AS "total!"
            FROM ticket_tiers
            WHERE concert_id = ANY($1)
              AND NOT EXISTS (SELECT FROM concerts WHERE concerts.id = concert_id AND hidden)
            GROUP BY concert_id
            "#,
            concerts as &[ConcertId]
        )
        .fetch_all(connection)
        .await?;
        let count = |seats: i64| usize::try_from(seats).unwrap_or_default();
        let versions = rows.into_iter().map(|row| {
            let version = Self { tag: row.tag, available: count(row.available), total: count(row.total) };
            (row.concert_id, version)
        });
        Ok(versions.collect())
    }
}

/// Whether the concert exists and is not hidden.
pub async fn concert_exists(connection: &mut PgConnection, concert: ConcertId) -> Result<bool, sqlx::Error> {
    let found =
        sqlx::query_scalar!("SELECT id FROM concerts WHERE id = $1 AND NOT hidden", concert as ConcertId);
    Ok(found.fetch_optional(connection).await?.is_some())
}
