//! Reads concerts for early rejection.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use hamro_shared::database::sold_seats::{self, ConcertSeats};
use hamro_shared::domain::{ConcertId, SeatId, SeatLabel, Timestamp};
use hamro_shared::epoch::History;
use sqlx::postgres::PgConnection;

use super::concert::{Compared, Concert, Terms};
use super::layout::Layout;
use super::rule::SeatsVersion;
use super::sales::Sales;

/// Reads a concert. `None` if it does not exist or is hidden, or if seats were added or removed meanwhile.
pub async fn load(connection: &mut PgConnection, id: ConcertId) -> Result<Option<Concert>, sqlx::Error> {
    let Some(loaded) = sold_seats::load(connection, id).await? else { return Ok(None) };
    let ConcertSeats { history, freed_version, seats, sold, released } = loaded;
    let Some(layout) = layout(connection, id, &seats).await? else { return Ok(None) };
    let mut sales = Sales::none(layout.len());
    for (seat, key) in sold {
        if let Some(place) = layout.place(seat) {
            sales.mark(place, key);
        }
    }
    for (seat, key) in released {
        if let Some(place) = layout.place(seat) {
            sales.add_released(place, key);
        }
    }
    // The terms are read by the comparison without which nothing is rejected.
    Ok(Some(Concert::new(id, layout, sales, SeatsVersion { history, freed_version }, Terms::default())))
}

/// Reads what these seats are called, one row at a time: a concert may have 100 000. `None` if it has other seats now.
async fn layout(
    connection: &mut PgConnection,
    concert: ConcertId,
    seats: &[SeatId],
) -> Result<Option<Layout>, sqlx::Error> {
    let mut rows = sqlx::query_as!(
        SeatLabel,
        r#"SELECT id AS "id: SeatId", section, "row", seat_number FROM seats WHERE concert_id = $1 ORDER BY id"#,
        concert as ConcertId
    )
    .fetch(connection);
    let (mut layout, mut expected) = (Layout::default(), seats.iter());
    while let Some(seat) = rows.try_next().await? {
        if expected.next() != Some(&seat.id) {
            return Ok(None);
        }
        layout.push(&seat);
    }
    layout.shrink_to_fit();
    Ok(expected.next().is_none().then_some(layout))
}

/// Reads what can differ from what is known of these concerts, in one query. Those that do not exist or are hidden are missing,
/// and those without a version, because somebody has deleted its row or the epoch.
pub async fn compare(
    connection: &mut PgConnection,
    concerts: &[ConcertId],
) -> Result<HashMap<ConcertId, Compared>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        WITH history AS MATERIALIZED (
            SELECT epoch, database_timeline() AS timeline FROM installation_epoch
        )
        SELECT concert.id AS "concert: ConcertId", history.epoch AS "epoch!", history.timeline AS "timeline!",
               freed.version, concert.sales_open_at AS "sales_open_at: Timestamp",
               least(concert.sales_close_at, concert.begins_at) AS "sales_close_at: Timestamp",
               (SELECT coalesce(sum(available), 0) FROM ticket_tiers WHERE concert_id = concert.id) AS "free!"
        FROM concerts concert
        JOIN freed_versions freed ON freed.concert_id = concert.id
        CROSS JOIN history
        WHERE concert.id = ANY($1) AND NOT concert.hidden
        "#,
        concerts as &[ConcertId]
    )
    .fetch_all(connection)
    .await?;
    let compared = rows.into_iter().map(|row| {
        let history = History { epoch: row.epoch, timeline: row.timeline };
        let version = SeatsVersion { history, freed_version: row.version };
        let terms = Terms { sales_open_at: row.sales_open_at, sales_close_at: row.sales_close_at };
        let free = usize::try_from(row.free).unwrap_or_default();
        (row.concert, Compared { version, terms, free })
    });
    Ok(compared.collect())
}

#[cfg(test)]
mod tests;
