//! The versions of concerts as pages show them: what an open page must load again when it changes.

use std::collections::HashMap;

use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;

/// A digest of each concert, its tiers without the numbers of available seats, and their types. It is the same on all instances. A
/// concert that was deleted has none.
pub async fn of_concerts(
    connection: &mut PgConnection,
    concerts: &[ConcertId],
) -> Result<HashMap<ConcertId, String>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT concert.id AS "id: ConcertId", md5(concat_ws(E'\n', concert::text, tiers.text)) AS "version!"
        FROM concerts concert
        CROSS JOIN LATERAL (
            SELECT string_agg(concat_ws(':', tier.id, tier.price, tier.total, type.id, type.name), E'\n' ORDER BY tier.id) AS text
            FROM ticket_tiers tier JOIN ticket_types type ON type.id = tier.ticket_type_id
            WHERE tier.concert_id = concert.id
        ) tiers
        WHERE concert.id = ANY($1) AND NOT concert.hidden
        "#,
        concerts as &[ConcertId]
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.version)).collect())
}
