//! The controls in Postgres: every change is a row, and the newest is in force.

use std::num::NonZeroU32;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::{ConcertControls, IntakeControls};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::controls::Controls;
use crate::http::admin_auth::AdminName;
use crate::seat_feed::version::concert_exists;

/// How many concerts may have controls at the same time: their controls are in every heartbeat.
pub const CONCERTS_MAX: usize = 100;

/// The controls that are in force. By default, bookings are accepted without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredControls {
    pub controls: Controls,
    /// `None` if nobody has ever changed them.
    pub change: Option<Change>,
}

/// Who has changed the controls, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    pub by: String,
    pub reason: String,
}

/// What an administrator wants to change.
#[derive(Clone, Debug)]
pub struct ChangeOrder {
    /// The revision that the administrator has seen.
    pub seen_revision: i64,
    pub decision: Decision,
    pub by: AdminName,
    pub reason: String,
}

/// What shall hold. The rest of the controls stays as it is.
#[derive(Clone, Copy, Debug)]
pub enum Decision {
    Intake { paused: bool, accept_per_second: Option<NonZeroU32> },
    Concert(ConcertControls),
}

/// Why a change was not made.
#[derive(Clone, Debug)]
pub enum NotChanged {
    /// These controls are in force, which the administrator has not seen.
    Outdated(Box<StoredControls>),
    /// The concert does not exist or is hidden.
    UnknownConcert,
    /// [`CONCERTS_MAX`] other concerts have controls.
    TooManyConcerts,
}

struct Row {
    revision: i64,
    intake_paused: bool,
    accept_per_second: Option<i32>,
    concerts: Option<Json<Vec<ConcertControls>>>,
    changed_at: Timestamp,
    changed_by: String,
    reason: String,
}

impl From<Row> for StoredControls {
    fn from(row: Row) -> Self {
        let Row { revision, intake_paused, accept_per_second, concerts, changed_at, changed_by, reason } =
            row;
        let accept_per_second =
            accept_per_second.and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new);
        let intake = IntakeControls { revision, intake_paused, accept_per_second };
        let concerts = concerts.map(|Json(concerts)| concerts).unwrap_or_default();
        let change = Some(Change { at: changed_at, by: changed_by, reason });
        Self { controls: Controls::new(intake, concerts), change }
    }
}

/// Reads the controls that are in force.
pub async fn read(connection: &mut PgConnection) -> Result<StoredControls, sqlx::Error> {
    Ok(newest(connection, None, 1).await?.pop().unwrap_or_default())
}

/// Reads at most `limit` changes, the newest first: those before a revision, or the newest of all.
pub async fn newest(
    connection: &mut PgConnection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<StoredControls>, sqlx::Error> {
    // A schema of an earlier version has no column `concerts`.
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT revision, intake_paused, accept_per_second,
               nullif(to_jsonb(stored) -> 'concerts', 'null') AS "concerts: Json<Vec<ConcertControls>>",
               changed_at AS "changed_at: Timestamp", changed_by, reason
        FROM intake_controls stored
        WHERE revision < $1
        ORDER BY revision DESC
        LIMIT $2
        "#,
        before.unwrap_or(i64::MAX),
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredControls::from).collect())
}

/// Stores the change, and returns the controls that are in force then.
pub async fn store(
    connection: &mut PgConnection,
    order: &ChangeOrder,
) -> Result<Result<StoredControls, NotChanged>, sqlx::Error> {
    let current = read(connection).await?;
    if current.controls.intake.revision != order.seen_revision {
        return Ok(Err(NotChanged::Outdated(Box::new(current))));
    }
    let is_stored = match order.decision {
        Decision::Intake { paused, accept_per_second } => {
            insert_for_intake(connection, order, paused, accept_per_second).await?
        }
        Decision::Concert(concert) => {
            if let Some(refusal) = refusal_of(connection, concert, &current.controls).await? {
                return Ok(Err(refusal));
            }
            insert_for_concert(connection, order, current.controls.with_concert(concert)).await?
        }
    };
    // Another change may have been committed meanwhile.
    let current = read(connection).await?;
    Ok(if is_stored { Ok(current) } else { Err(NotChanged::Outdated(Box::new(current))) })
}

/// Controls can be removed of a concert that does not exist any more.
async fn refusal_of(
    connection: &mut PgConnection,
    concert: ConcertControls,
    current: &Controls,
) -> Result<Option<NotChanged>, sqlx::Error> {
    let has_controls = current.concerts.iter().any(|known| known.concert_id == concert.concert_id);
    let is_removal = has_controls && concert.is_none();
    if !is_removal && !concert_exists(connection, concert.concert_id).await? {
        return Ok(Some(NotChanged::UnknownConcert));
    }
    let is_one_more = !has_controls && !concert.is_none();
    Ok((is_one_more && current.concerts.len() >= CONCERTS_MAX).then_some(NotChanged::TooManyConcerts))
}

/// Names no concerts, so that the row keeps their controls (by a trigger), and so that the intake can be paused on a schema of an
/// earlier version too. Returns whether the revision was still the newest.
async fn insert_for_intake(
    connection: &mut PgConnection,
    order: &ChangeOrder,
    paused: bool,
    accept_per_second: Option<NonZeroU32>,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        r#"
        INSERT INTO intake_controls (revision, intake_paused, accept_per_second, changed_at, changed_by, reason)
        SELECT $1::bigint + 1, $2, $3, now(), $4, $5
        WHERE $1 = (SELECT coalesce(max(revision), 0) FROM intake_controls)
        ON CONFLICT (revision) DO NOTHING
        "#,
        order.seen_revision,
        paused,
        stored_limit(accept_per_second),
        order.by.as_str(),
        order.reason
    );
    Ok(inserted.execute(connection).await?.rows_affected() == 1)
}

/// Returns whether the revision was still the newest.
async fn insert_for_concert(
    connection: &mut PgConnection,
    order: &ChangeOrder,
    controls: Controls,
) -> Result<bool, sqlx::Error> {
    let Controls { intake, concerts } = controls;
    let inserted = sqlx::query!(
        r#"
        INSERT INTO intake_controls
            (revision, intake_paused, accept_per_second, concerts, changed_at, changed_by, reason)
        SELECT $1::bigint + 1, $2, $3, $4, now(), $5, $6
        WHERE $1 = (SELECT coalesce(max(revision), 0) FROM intake_controls)
        ON CONFLICT (revision) DO NOTHING
        "#,
        order.seen_revision,
        intake.intake_paused,
        stored_limit(intake.accept_per_second),
        Json(concerts) as _,
        order.by.as_str(),
        order.reason
    );
    Ok(inserted.execute(connection).await?.rows_affected() == 1)
}

fn stored_limit(limit: Option<NonZeroU32>) -> Option<i32> {
    limit.and_then(|limit| i32::try_from(limit.get()).ok())
}
