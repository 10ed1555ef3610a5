//! Whether all tables, indexes, constraints, triggers, functions and sequences are there and in force. A restore that reported
//! errors lacks some.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;

use super::problem::{Problem, listed};

const RULE: &str = "objects";

/// What the migrations create, one object a line: kind, name and definition, separated by tabs. A test writes it.
pub const OBJECTS: &str = include_str!("objects.txt");

/// The objects of this database, in the same form.
///
/// Definitions are compared where the server writes them in the same way in all versions: those of indexes and columns.
pub async fn stored_objects(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        r#"
        WITH tables AS (
            SELECT oid, relname FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname <> '_sqlx_migrations'
        )
        SELECT concat_ws(E'\t', kind, name, definition) COLLATE "C" FROM (
            SELECT 'table' AS kind, quote_ident(relname) AS name, NULL AS definition FROM tables
            UNION ALL
            SELECT 'column', format('%I.%I', relname, attname),
                   format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
            FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
            UNION ALL
            SELECT 'index', index.relname,
                   replace(pg_get_indexdef(index.oid), ' ON ' || quote_ident(current_schema()) || '.', ' ON ')
            FROM tables JOIN pg_index ON indrelid = tables.oid JOIN pg_class index ON index.oid = indexrelid
            UNION ALL
            SELECT 'constraint', format('%I.%I', relname, conname), NULL
            FROM tables JOIN pg_constraint ON conrelid = tables.oid AND contype IN ('c', 'f', 'p', 'u')
            UNION ALL
            SELECT 'trigger', format('%I.%I', relname, tgname), NULL
            FROM tables JOIN pg_trigger ON tgrelid = tables.oid AND NOT tgisinternal
            UNION ALL
            SELECT 'function', oid::regprocedure::text, NULL FROM pg_proc
            WHERE pronamespace = current_schema()::regnamespace
              AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
            UNION ALL
            SELECT 'sequence', relname, NULL FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind = 'S'
        ) object
        ORDER BY 1
        "#,
    )
    .fetch_all(connection)
    .await
}

/// What is wrong with the objects.
pub struct ObjectProblems {
    pub problems: Vec<Problem>,
    /// Whether the other checks can read what they need.
    pub are_rows_readable: bool,
}

pub async fn problems(snapshot: &mut PgConnection) -> Result<ObjectProblems, sqlx::Error> {
    let mut found = compare(&stored_objects(snapshot).await?);
    for (query, what, action) in NOT_IN_FORCE {
        let names: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut *snapshot).await?;
        if !names.is_empty() {
            let names = listed(&names, names.len() as u64);
            found.problems.push(Problem::to_decide(RULE, format!("{what}: {names}"), action));
        }
    }
    Ok(found)
}

/// What is missing or different. Additional objects are an operator's own.
fn compare(stored: &[String]) -> ObjectProblems {
    let stored: BTreeMap<_, _> = stored.iter().map(|line| parse(line)).collect();
    let missing_tables: Vec<&str> = OBJECTS
        .lines()
        .map(parse)
        .filter(|((kind, _), _)| *kind == "table")
        .filter(|(object, _)| !stored.contains_key(object))
        .map(|((_, name), _)| name)
        .collect();
    let mut found = ObjectProblems { problems: Vec::new(), are_rows_readable: true };
    for ((kind, name), definition) in OBJECTS.lines().map(parse) {
        let belongs_to = |table: &&str| {
            name.split_once('.').is_some_and(|(of, _)| of == *table)
                || definition.contains(&format!(" ON {table} "))
        };
        let problem = match stored.get(&(kind, name)) {
            Some(stored) if *stored == definition => continue,
            Some(stored) => format!("the {kind} {name} is different: it is `{stored}`"),
            // It went with its table.
            None if missing_tables.iter().any(belongs_to) => continue,
            None => {
                found.are_rows_readable &= !["table", "column", "sequence"].contains(&kind);
                format!("the {kind} {name} is missing")
            }
        };
        found.problems.push(Problem::to_decide(RULE, problem, action(kind, name, definition)));
    }
    found
}

/// Kind, name and definition of an object.
fn parse(line: &str) -> ((&str, &str), &str) {
    let mut fields = line.splitn(3, '\t');
    let mut next = || fields.next().unwrap_or_default();
    ((next(), next()), next())
}

fn action(kind: &str, name: &str, definition: &str) -> String {
    match (kind, definition) {
        ("index", definition) => format!(
            "Create it again: `{definition}`. If that is refused, the rows contradict it: see the other problems."
        ),
        (_, "") => format!(
            "The restore was not complete: read its errors, and restore again. The migrations in which `{name}` occurs create it."
        ),
        (_, definition) => {
            format!(
                "The restore was not complete: read its errors, and restore again. It should be `{definition}`."
            )
        }
    }
}

/// Queries of what exists and does nothing, or not for all rows.
const NOT_IN_FORCE: [(&str, &str, &str); 3] = [
    (
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
         WHERE relnamespace = current_schema()::regnamespace AND NOT (indisvalid AND indisready)
         ORDER BY 1",
        "indexes are invalid",
        "`REINDEX INDEX CONCURRENTLY` each. If that is refused, the rows contradict it: see the other problems.",
    ),
    (
        "SELECT format('%s on %s', quote_ident(conname), conrelid::regclass) FROM pg_constraint
         WHERE connamespace = current_schema()::regnamespace AND NOT convalidated ORDER BY 1",
        "constraints were not validated",
        "`ALTER TABLE … VALIDATE CONSTRAINT` each; it names the first row that contradicts it.",
    ),
    (
        "SELECT format('%s on %s', quote_ident(tgname), tgrelid::regclass) FROM pg_trigger
         JOIN pg_class ON pg_class.oid = tgrelid
         WHERE relnamespace = current_schema()::regnamespace AND tgenabled NOT IN ('O', 'A') ORDER BY 1",
        "triggers are disabled",
        "`ALTER TABLE … ENABLE TRIGGER ALL` as a superuser. A restore with --disable-triggers leaves them so when it fails.",
    ),
];
