//! What a request may set as the time of a concert. The database decides, because it computes when a concert begins.

use sqlx::postgres::PgConnection;

use super::concert::Concert;
use super::queries::concerts;
use crate::http::problem::Problem;

/// What is wrong with a time zone.
pub const TIME_ZONE: &str = "must be the name of a time zone, such as Asia/Kathmandu";

/// Returns what is wrong with the time of the concert, which replaces `stored`.
///
/// A date in the past is usually a mistake, and nobody could book the concert, so it must be intended. That holds for
/// test concerts too. A past concert can be changed, and its time corrected, as long as its date stays the same.
pub async fn check(
    connection: &mut PgConnection,
    concert: &Concert,
    stored: Option<&Concert>,
    allow_past_date: bool,
) -> Result<Result<(), Problem>, sqlx::Error> {
    let has_changed =
        |is_same: fn(&Concert, &Concert) -> bool| stored.is_none_or(|old| !is_same(old, concert));
    if let Some(time_zone) = &concert.time_zone
        && has_changed(|old, new| old.time_zone == new.time_zone)
        && !concerts::is_time_zone(connection, time_zone).await?
    {
        return Ok(Err(Problem::invalid_field("timeZone", TIME_ZONE)));
    }
    let is_moved =
        has_changed(|old, new| (old.date, old.time, &old.time_zone) == (new.date, new.time, &new.time_zone));
    if allow_past_date || !is_moved || !concerts::has_begun(connection, concert).await? {
        return Ok(Ok(()));
    }
    if let Some(stored) = stored.filter(|stored| stored.date == concert.date)
        && concerts::has_begun(connection, stored).await?
    {
        return Ok(Ok(()));
    }
    Ok(Err(Problem::invalid_field(
        "date",
        "is in the past. Send \"allowPastDate\": true if it is meant to be",
    )))
}
