//! The schema: whether it is the one that this program knows, and whether its indexes work.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hamro_shared::database::MIGRATOR;
use sqlx::postgres::PgConnection;
use sqlx::{Error, FromRow};

use crate::doctor::report::Finding;

const SCHEMA: &str = "schema";
const INDEXES: &str = "indexes";

/// A migration, as the database records it.
#[derive(Debug, FromRow)]
struct Applied {
    version: i64,
    success: bool,
    checksum: Vec<u8>,
}

pub async fn check(connection: &mut PgConnection) -> Vec<Finding> {
    let unreadable = |check, error: Error| Finding::error(check, error.to_string(), "run this again");
    vec![
        match applied(connection).await {
            Ok(applied) => compare(&applied, &known()),
            Err(error) => unreadable(SCHEMA, error),
        },
        match invalid_indexes(connection).await {
            Ok(names) => indexes(&names),
            Err(error) => unreadable(INDEXES, error),
        },
    ]
}

// Not checked at compile time: these queries must run whatever the schema is.

async fn applied(connection: &mut PgConnection) -> Result<Vec<Applied>, Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
        .fetch_all(connection)
        .await
}

async fn invalid_indexes(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let query = "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
                 WHERE NOT indisvalid AND relnamespace = to_regnamespace('public') ORDER BY 1";
    sqlx::query_scalar(query).fetch_all(connection).await
}

/// The migrations of this program, with their checksums.
fn known() -> BTreeMap<i64, Cow<'static, [u8]>> {
    MIGRATOR.iter().map(|migration| (migration.version, migration.checksum.clone())).collect()
}

fn compare(applied: &[Applied], known: &BTreeMap<i64, Cow<'_, [u8]>>) -> Finding {
    let Some(newest) = known.keys().next_back() else { return Finding::ok(SCHEMA, "there is none") };
    if applied.is_empty() {
        let remedy = "start an api instance, or run `hamro-api migrate`; then read this again";
        return Finding::error(SCHEMA, "the database is empty: no program can use it yet", remedy);
    }
    if let Some(failed) = applied.iter().find(|migration| !migration.success) {
        let finding = format!("migration {} has failed half-way", failed.version);
        let remedy = "repair what its error names (the log of the api), delete its row in _sqlx_migrations, and migrate";
        return Finding::error(SCHEMA, finding, remedy);
    }
    let is_changed =
        |it: &&Applied| known.get(&it.version).is_some_and(|checksum| **checksum != *it.checksum);
    if let Some(changed) = applied.iter().find(is_changed) {
        let finding =
            format!("migration {} was applied with another content than this program has", changed.version);
        return Finding::error(SCHEMA, finding, "use a released program: its migrations never change");
    }
    let missing = known.keys().filter(|version| applied.iter().all(|it| it.version != **version)).count();
    if missing > 0 {
        let finding =
            format!("{missing} migrations of this program are missing: workers of its version wait for them");
        let remedy =
            "start an api instance of this version, or run `hamro-api migrate` if MIGRATE_ON_START=false";
        return Finding::warning(SCHEMA, finding, remedy);
    }
    let unknown = applied.iter().filter(|it| !known.contains_key(&it.version)).count();
    if unknown > 0 {
        let finding = format!(
            "it is newer than this program, by {unknown} migrations; the program runs on all the same"
        );
        let remedy = "upgrade this program, unless an upgrade or a rollback is in progress";
        return Finding::warning(SCHEMA, finding, remedy);
    }
    Finding::ok(SCHEMA, format!("up to date ({newest})"))
}

fn indexes(invalid: &[String]) -> Finding {
    if invalid.is_empty() {
        return Finding::ok(INDEXES, "all are valid");
    }
    let names = invalid.join(", ");
    let finding = format!("{names}: not used by queries, or a rule that is not enforced");
    Finding::error(INDEXES, finding, format!("REINDEX INDEX CONCURRENTLY {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn applied(versions: &[i64]) -> Vec<Applied> {
        let migration = |version: &i64| Applied { version: *version, success: true, checksum: vec![1] };
        versions.iter().map(migration).collect()
    }

    #[test]
    fn the_schema_is_empty_older_up_to_date_newer_or_broken() {
        let known: BTreeMap<i64, Cow<'_, [u8]>> = [(1, vec![1].into()), (2, vec![1].into())].into();
        let verdict = |applied: &[Applied]| compare(applied, &known).verdict;
        assert_eq!(verdict(&[]), Verdict::Error);
        assert_eq!(verdict(&applied(&[1])), Verdict::Warning);
        assert_eq!(verdict(&applied(&[1, 2])), Verdict::Ok);
        let newer = compare(&applied(&[1, 2, 3]), &known);
        assert_eq!(newer.verdict, Verdict::Warning);
        assert!(newer.finding.contains("newer than this program, by 1"), "{}", newer.finding);
        let mut broken = applied(&[1, 2]);
        broken[1].success = false;
        assert_eq!(verdict(&broken), Verdict::Error);
        broken[1] = Applied { version: 2, success: true, checksum: vec![2] };
        assert_eq!(verdict(&broken), Verdict::Error);
    }
}
