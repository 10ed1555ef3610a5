//! Reads the versions of the parts of the catalogue.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::key::Part;

/// The versions that a check has read: texts that differ if any row of the part does. `None` for parts that it has left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions([Option<String>; Part::ALL.len()]);

impl Versions {
    pub fn of(&self, part: Part) -> Option<&str> {
        self.0[part.index()].as_deref()
    }

    #[cfg(test)]
    pub fn all(text: &str) -> Self {
        Self(Part::ALL.map(|_| Some(text.to_owned())))
    }
}

/// Reads the versions of these parts in one statement.
///
/// `xmin` is the transaction that wrote a row: every insertion, deletion and change of a row, also by SQL, changes the
/// number or the sum of the hashes, in the same moment as the row. Transaction ids are those of one epoch.
/// The list of concerts has past ones at its end, so it also changes when a concert begins.
pub async fn read(connection: &mut PgConnection, parts: [bool; 4]) -> Result<Versions, sqlx::Error> {
    let [concerts, tiers, types, pages] = parts;
    let (tiers, types) = (tiers || pages, types || pages);
    let row = sqlx::query!(
        r#"
        SELECT
            (SELECT epoch FROM installation_epoch) AS "epoch: Uuid",
            CASE WHEN $1 THEN (
                SELECT concat_ws(':', count(*), sum(uuid_hash_extended(id, xmin::text::bigint)),
                                 count(*) FILTER (WHERE begins_at <= now()))
                FROM concerts WHERE NOT hidden
            ) END AS concerts,
            CASE WHEN $2 THEN (
                SELECT concat_ws(':', count(*), sum(hashint4extended(id, xmin::text::bigint))) FROM ticket_tiers
            ) END AS tiers,
            CASE WHEN $3 THEN (
                SELECT concat_ws(':', count(*), sum(hashint4extended(id, xmin::text::bigint)))
                FROM ticket_types WHERE NOT hidden
            ) END AS ticket_types
        "#,
        concerts || tiers,
        tiers,
        types
    )
    .fetch_one(connection)
    .await?;
    let of_epoch = |text: Option<String>| text.map(|text| format!("{:?} {text}", row.epoch));
    let tiers = row.tiers.zip(row.concerts.clone()).map(|(tiers, concerts)| format!("{tiers} {concerts}"));
    let pages = tiers.clone().zip(row.ticket_types.clone()).map(|(tiers, types)| format!("{tiers} {types}"));
    Ok(Versions([row.concerts, tiers, row.ticket_types, pages].map(of_epoch)))
}
