//! Programs of the previous version run while a migration is applied, and after a rollback. So a migration only adds: what an
//! earlier version reads and writes must stay as it is. This compares the catalogue of Postgres before and after each
//! migration, so it also sees what a function or a block of PL/pgSQL does.
//!
//! Not covered: triggers, and what a migration changes in the rows. `make test-upgrade` runs an earlier version.

use std::borrow::Cow;
use std::collections::BTreeSet;

use hamro_shared::database::MIGRATOR;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

/// What migrations take from earlier versions, and why that is safe. Remove something only when no version that may run
/// beside this one uses it any more.
const ALLOWED: &[(i64, &str, &str)] = &[
    (
        20_261_124_000_001,
        "new rule: dead_letters (resolved_at, resolution, discard_reason, reissued_as): CHECK (",
        "earlier versions resolve no dead letter",
    ),
    (
        20_261_128_000_001,
        "new rule: ticket_tiers (concert_id, ticket_type_id): unique index ticket_tiers_type_of_concert",
        "only an administrator adds a tier; an earlier version refuses a second one of a type as an internal error",
    ),
    (
        20_261_128_000_007,
        "new rule: seats (concert_id, seat_number): unique index seats_label",
        "only an administrator adds seats; an earlier version refuses labels that exist as an internal error",
    ),
];

/// What an earlier version may use: it must still be there.
const USABLE: &str = "
    SELECT format('%s.%s %s', class.relname, attribute.attname, format_type(atttypid, atttypmod))
    FROM pg_attribute attribute JOIN pg_class class ON class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped
      AND relname <> '_sqlx_migrations'
    UNION ALL
    SELECT 'sequence ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
    UNION ALL
    SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace";

/// What every row must satisfy: the table, the columns, and a description.
const RULES: &str = "
    SELECT class.relname::text AS relation, ARRAY[attname::text] AS columns, 'needs a value' AS rule
    FROM pg_attribute JOIN pg_class class ON class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
      AND attnotnull AND NOT atthasdef AND attidentity = '' AND attgenerated = ''
    UNION ALL
    SELECT class.relname, ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)),
           pg_get_constraintdef(constraints.oid)
    FROM pg_constraint constraints JOIN pg_class class ON class.oid = conrelid
    WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'f', 'x', 'p')
    UNION ALL
    SELECT class.relname, ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey)),
           'unique index ' || indexrelid::regclass
    FROM pg_index JOIN pg_class class ON class.oid = indrelid
    WHERE relnamespace = 'public'::regnamespace AND indisunique
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)";

type Rule = (String, Vec<String>, String);

#[derive(Default)]
struct Schema {
    usable: BTreeSet<String>,
    rules: BTreeSet<Rule>,
}

impl Schema {
    async fn read(pool: &PgPool) -> Self {
        let usable: Vec<String> = sqlx::query_scalar(USABLE).fetch_all(pool).await.unwrap();
        let rules: Vec<Rule> = sqlx::query_as(RULES).fetch_all(pool).await.unwrap();
        Self { usable: usable.into_iter().collect(), rules: rules.into_iter().collect() }
    }

    fn has_table(&self, table: &str) -> bool {
        self.usable.iter().any(|column| column.starts_with(&format!("{table}.")))
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        self.usable.iter().any(|known| known.starts_with(&format!("{table}.{column} ")))
    }

    /// What a program that was written for this schema can no longer do in that one.
    fn taken_by(&self, later: &Self) -> Vec<String> {
        let missing = self.usable.difference(&later.usable).map(|missing| format!("missing: {missing}"));
        let stricter = later.rules.difference(&self.rules).filter(|(table, columns, rule)| {
            // The program writes nothing to other columns, except that a row must have a value.
            let is_known = columns.iter().any(|column| self.has_column(table, column));
            self.has_table(table) && (is_known || rule == "needs a value")
        });
        let stricter = stricter
            .map(|(table, columns, rule)| format!("new rule: {table} ({}): {rule}", columns.join(", ")));
        missing.chain(stricter).collect()
    }
}

/// Applies the migrations up to this one.
async fn migrate_until(pool: &PgPool, version: i64) {
    let migrations = MIGRATOR.iter().filter(|migration| migration.version <= version).cloned().collect();
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    migrator.run(pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_migration_takes_nothing_from_the_programs_of_the_version_before(pool: PgPool) {
    let (mut before, mut taken) = (Schema::default(), Vec::new());
    for migration in MIGRATOR.iter() {
        migrate_until(&pool, migration.version).await;
        let after = Schema::read(&pool).await;
        taken.extend(before.taken_by(&after).into_iter().map(|finding| (migration.version, finding)));
        before = after;
    }
    let is_allowed = |((version, finding), (allowed, start, _)): (&(i64, String), &(i64, &str, &str))| {
        version == allowed && finding.starts_with(start)
    };
    assert_eq!(taken.len(), ALLOWED.len(), "see ALLOWED: {taken:#?}");
    assert!(taken.iter().zip(ALLOWED).all(is_allowed), "see ALLOWED: {taken:#?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn every_change_that_an_earlier_version_would_notice_is_found(pool: PgPool) {
    let before = Schema::read(&pool).await;
    for (change, finding) in [
        ("ALTER TABLE seats DROP COLUMN section", "missing: seats.section"),
        ("ALTER TABLE seats RENAME COLUMN \"row\" TO line", "missing: seats.row"),
        ("ALTER TABLE sales ALTER COLUMN user_name TYPE varchar(9)", "missing: sales.user_name text"),
        ("DROP SEQUENCE instance_numbers", "missing: sequence instance_numbers"),
        (
            "ALTER TABLE canary ALTER last_run_at SET NOT NULL",
            "new rule: canary (last_run_at): needs a value",
        ),
        (
            "ALTER TABLE canary ALTER last_seat_id DROP DEFAULT",
            "new rule: canary (last_seat_id): needs a value",
        ),
        (
            "ALTER TABLE canary_tickets ADD COLUMN seat integer NOT NULL",
            "new rule: canary_tickets (seat): needs",
        ),
        ("ALTER TABLE sales ADD CHECK (user_name <> 'Bob')", "new rule: sales (user_name): CHECK"),
        (
            "CREATE UNIQUE INDEX one_name ON sales (user_name)",
            "new rule: sales (user_name): unique index one_name",
        ),
        (
            "ALTER TABLE canary_tickets RENAME TO canary_bookings",
            "missing: canary_tickets.booked_at timestamp",
        ),
    ] {
        sqlx::raw_sql(change).execute(&pool).await.unwrap();
        let after = Schema::read(&pool).await;
        let taken = before.taken_by(&after);
        assert!(taken.iter().any(|taken| taken.starts_with(finding)), "{change}: {taken:?}");
    }
    for harmless in [
        "ALTER TABLE releases ADD COLUMN colour text",
        "ALTER TABLE releases ADD COLUMN size integer NOT NULL DEFAULT 7 CHECK (size > 0)",
        "CREATE TABLE another (id integer PRIMARY KEY)",
    ] {
        let before = Schema::read(&pool).await;
        sqlx::raw_sql(harmless).execute(&pool).await.unwrap();
        assert_eq!(before.taken_by(&Schema::read(&pool).await), Vec::<String>::new(), "{harmless}");
    }
}
