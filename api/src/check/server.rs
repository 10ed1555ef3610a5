//! What a restored server may lack, though its rows are right: its clock, the rules by which it sorts texts, statistics.

use hamro_shared::domain::{TicketId, Timestamp};
use hamro_shared::queue::ConcertControls;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::problem::{Problem, Repair};
use crate::intake::controls::describe;

/// The tables whose plans matter, once they are this large. The server gathers statistics of such a table within a minute.
const ANALYZED: [&str; 5] = ["seats", "ticket_tiers", "sales", "sale_seats", "bookings"];
const LARGE: i64 = 8 * 1024 * 1024;

/// How far ahead of the server's clock a settled ticket may be.
const CLOCK_TOLERANCE_MS: i64 = 60_000;

pub async fn problems(snapshot: &mut PgConnection) -> Result<Vec<Problem>, sqlx::Error> {
    let mut problems = Vec::new();
    problems.extend(clock(snapshot).await?);
    problems.extend(collation(snapshot).await?);
    problems.extend(statistics(snapshot).await?);
    Ok(problems)
}

/// What an operator may have forgotten since the backup.
pub async fn notes(snapshot: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let controls = sqlx::query!(
        r#"
        SELECT intake_paused, accept_per_second, concerts AS "concerts: Json<Vec<ConcertControls>>", changed_by,
               changed_at AS "changed_at: Timestamp"
        FROM intake_controls ORDER BY revision DESC LIMIT 1
        "#
    )
    .fetch_optional(&mut *snapshot)
    .await?;
    let mut notes = Vec::new();
    if let Some(controls) = controls {
        let by = format!("since {}, by {}", controls.changed_at, controls.changed_by);
        if controls.intake_paused {
            notes.push(format!("The intake is paused {by}."));
        } else if let Some(limit) = controls.accept_per_second {
            notes.push(format!("The intake is limited to {limit} bookings per second {by}."));
        }
        for concert in controls.concerts.map(|Json(concerts)| concerts).unwrap_or_default() {
            let ConcertControls { concert_id, paused, accept_per_second } = concert;
            notes.push(format!("Concert {concert_id} is {}.", describe(paused, accept_per_second)));
        }
    }
    let letters =
        sqlx::query_scalar!(r#"SELECT count(*) AS "open!" FROM dead_letters WHERE resolved_at IS NULL"#)
            .fetch_one(snapshot)
            .await?;
    if letters > 0 {
        notes.push(format!("{letters} dead letters are open."));
    }
    Ok(notes)
}

async fn clock(snapshot: &mut PgConnection) -> Result<Option<Problem>, sqlx::Error> {
    let newest: Option<Uuid> =
        sqlx::query_scalar("SELECT ticket_id FROM bookings ORDER BY ticket_id DESC LIMIT 1")
            .fetch_optional(&mut *snapshot)
            .await?;
    let now: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(snapshot).await?;
    let issued_at = newest.map(|ticket| TicketId(ticket).issued_at());
    Ok(issued_at.filter(|at| at.unix_millis() > now.unix_millis() + CLOCK_TOLERANCE_MS).map(|at| {
        let found = format!("the server's clock shows {now}, and a ticket that is settled was issued at {at}");
        Problem::to_decide(
            "clock",
            found,
            "Set the clock (NTP), and check again. Until then, tickets expire late and released seats stay blocked.",
        )
    }))
}

async fn collation(snapshot: &mut PgConnection) -> Result<Option<Problem>, sqlx::Error> {
    let (stored, actual): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
         WHERE datname = current_database()",
    )
    .fetch_one(snapshot)
    .await?;
    Ok(collation_problem(stored.as_deref(), actual.as_deref()))
}

/// Indexes of texts are damaged if the files come from a system that sorts differently. A locale that always sorts by bytes
/// has no version.
fn collation_problem(stored: Option<&str>, actual: Option<&str>) -> Option<Problem> {
    let (stored, actual) = (stored?, actual?);
    (stored != actual).then(|| {
        Problem::to_decide(
            "collation",
            format!("the database was written with collation version {stored}, and this system has {actual}"),
            "Indexes of texts may be damaged, so a label could be given twice. As its owner: `REINDEX DATABASE` and `ALTER \
             DATABASE … REFRESH COLLATION VERSION`.",
        )
    })
}

async fn statistics(snapshot: &mut PgConnection) -> Result<Vec<Problem>, sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = current_schema()::regnamespace AND relname = ANY($1) AND pg_relation_size(oid) > $2
           AND NOT EXISTS (SELECT FROM pg_stats WHERE schemaname = current_schema() AND tablename = relname)
         ORDER BY relname",
    )
    .bind(&ANALYZED[..])
    .bind(LARGE)
    .fetch_all(snapshot)
    .await?;
    let problem = |table: String| {
        let found = format!("the server has no statistics of {table}, so its statements may be slow");
        Problem::repairable("statistics", found, Repair::Analyze { table })
    };
    Ok(tables.into_iter().map(problem).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_collation_version_is_a_problem_and_a_locale_without_one_is_not() {
        assert!(collation_problem(Some("2.36"), Some("2.41")).is_some());
        for (stored, actual) in [(Some("2.36"), Some("2.36")), (None, None), (None, Some("2.36"))] {
            assert_eq!(collation_problem(stored, actual), None);
        }
    }
}
