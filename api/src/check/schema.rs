//! Whether all migrations of this version have been applied, unchanged.

use hamro_shared::database::MIGRATOR;
use sqlx::postgres::PgConnection;

use super::problem::{Problem, listed};

const RULE: &str = "schema";

pub enum SchemaState {
    /// The tables may lack what the other checks read.
    Unusable(Problem),
    Usable {
        problems: Vec<Problem>,
        note: Option<String>,
    },
}

pub async fn is_usable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    Ok(matches!(state(connection).await?, SchemaState::Usable { .. }))
}

pub async fn state(snapshot: &mut PgConnection) -> Result<SchemaState, sqlx::Error> {
    // Not checked at compile time: sqlx creates the table, our migrations do not.
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *snapshot)
        .await?;
    if !exists {
        return Ok(unusable(
            "this database has no schema".to_owned(),
            "Compare DATABASE_URL with the database that was restored. If it is a new one, run `hamro-api migrate`.",
        ));
    }
    let applied: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(snapshot)
            .await?;
    Ok(compare(&applied))
}

fn compare(applied: &[(i64, bool, Vec<u8>)]) -> SchemaState {
    let incomplete: Vec<i64> =
        applied.iter().filter(|(_, success, _)| !success).map(|(version, ..)| *version).collect();
    if !incomplete.is_empty() {
        return unusable(
            format!("migrations were begun and not completed: {}", all(&incomplete)),
            "Restore a backup from before the upgrade, or complete them by hand.",
        );
    }
    let found = |version: i64| applied.iter().find(|(applied, ..)| *applied == version);
    let missing: Vec<i64> = MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .filter(|version| found(*version).is_none())
        .collect();
    if !missing.is_empty() {
        return unusable(
            format!("the schema is older than this program: it lacks the migrations {}", all(&missing)),
            "Run `hamro-api migrate`, then the same command again. Or use the hamro-api of the version that wrote the backup.",
        );
    }
    let changed: Vec<i64> = MIGRATOR
        .iter()
        .filter(|migration| found(migration.version).is_some_and(|(.., sum)| sum != &*migration.checksum))
        .map(|migration| migration.version)
        .collect();
    let problems = if changed.is_empty() {
        Vec::new()
    } else {
        let found = format!("migrations were applied with another content: {}", all(&changed));
        vec![Problem::to_decide(
            RULE,
            found,
            "Find out which program migrated this database: it was no release.",
        )]
    };
    let newer: Vec<i64> = applied
        .iter()
        .map(|(version, ..)| *version)
        .filter(|version| MIGRATOR.iter().all(|migration| migration.version != *version))
        .collect();
    let note = (!newer.is_empty()).then(|| {
        format!(
            "The schema is newer than this program ({}), so its tables and indexes are not compared. Prefer the hamro-api \
             of the newer version.",
            all(&newer)
        )
    });
    SchemaState::Usable { problems, note }
}

fn unusable(found: String, action: &str) -> SchemaState {
    SchemaState::Unusable(Problem::to_decide(RULE, found, action))
}

fn all(versions: &[i64]) -> String {
    listed(versions, versions.len() as u64)
}
