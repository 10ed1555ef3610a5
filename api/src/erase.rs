//! `hamro-api erase`: replaces a person's name and e-mail address everywhere in the database, at that person's request.
//!
//! Seats, counters, statuses, outcomes and idempotency digests do not change. The placeholders pass the rules for
//! input, so that older versions can read the rows.

use std::fmt::{self, Display};

use anyhow::{Context, bail, ensure};
use futures_util::TryStreamExt;
use hamro_shared::domain::{CustomerName, Email};
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

#[derive(clap::Args)]
pub struct Arguments {
    /// The person's e-mail address; case does not matter
    #[arg(long, value_name = "ADDRESS", value_parser = Email::parse)]
    email: Email,
    /// Apply the changes instead of only reporting them
    #[arg(long)]
    apply: bool,
}

/// What was replaced, or would be replaced with `--apply`.
pub struct Report {
    is_applied: bool,
    sales: u64,
    bookings: u64,
    dead_letters: usize,
    /// Ids of the person's unresolved dead letters.
    open: Vec<i64>,
}

/// A dead letter that mentions the address.
struct Letter {
    id: i64,
    is_open: bool,
    in_payload: bool,
    /// In the detail or the discard reason.
    in_texts: bool,
}

/// Replaces a text about the person.
const ERASED: &str = "erased";

pub async fn erase(connection: &mut PgConnection, arguments: &Arguments) -> anyhow::Result<Report> {
    let address = arguments.email.normalised();
    ensure!(address != Email::erased().as_str(), "this address is the placeholder for erased addresses");
    if arguments.apply { apply(connection, &address).await } else { examine(connection, &address).await }
}

async fn examine(connection: &mut PgConnection, address: &str) -> anyhow::Result<Report> {
    // One read-only snapshot for all counts.
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let spellings = find_spellings(&mut transaction, address).await?;
    let counts = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM sales WHERE user_email = ANY($1)) AS "sales!",
               (SELECT count(*) FROM bookings WHERE user_email = ANY($1)) AS "bookings!"
        "#,
        &spellings
    )
    .fetch_one(&mut *transaction)
    .await?;
    let (open, resolved): (Vec<_>, Vec<_>) =
        find_letters(&mut transaction, address).await?.into_iter().partition(|letter| letter.is_open);
    Ok(Report {
        is_applied: false,
        sales: counts.sales.unsigned_abs(),
        bookings: counts.bookings.unsigned_abs(),
        dead_letters: resolved.len(),
        open: open.into_iter().map(|letter| letter.id).collect(),
    })
}

async fn apply(connection: &mut PgConnection, address: &str) -> anyhow::Result<Report> {
    let mut transaction = connection.begin().await?;
    let spellings = find_spellings(&mut transaction, address).await?;
    let (name, email) = (CustomerName::erased(), Email::erased());
    let sales = sqlx::query!(
        "UPDATE sales SET user_name = $2, user_email = $3 WHERE user_email = ANY($1)",
        &spellings,
        name.as_str(),
        email.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    let bookings = sqlx::query!(
        "UPDATE bookings SET user_name = $2, user_email = $3 WHERE user_email = ANY($1)",
        &spellings,
        name.as_str(),
        email.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    // Until the commit, no dead letter can be added, reissued or discarded.
    sqlx::query!("LOCK TABLE dead_letters IN SHARE ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
    let letters = find_letters(&mut transaction, address).await?;
    let open: Vec<i64> = letters.iter().filter(|letter| letter.is_open).map(|letter| letter.id).collect();
    if !open.is_empty() {
        // Returning an error rolls the transaction back.
        bail!("nothing was changed. {}", resolve_first(&open));
    }
    for letter in &letters {
        replace(&mut transaction, letter).await?;
    }
    transaction.commit().await.context("the result of the commit is unknown: run the command again")?;
    Ok(Report {
        is_applied: true,
        sales: sales.rows_affected(),
        bookings: bookings.rows_affected(),
        dead_letters: letters.len(),
        open,
    })
}

/// All stored spellings of the address. Under the collation "C", Postgres folds the case of ASCII letters only, on
/// every system. Non-ASCII addresses are therefore all fetched and compared here, by the rule of [`Email::normalised`].
async fn find_spellings(connection: &mut PgConnection, address: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut spellings = sqlx::query_scalar!(
        r#"
        SELECT user_email AS "user_email!" FROM sales
        WHERE lower(user_email COLLATE "C") = $1 OR octet_length(user_email) <> char_length(user_email)
        UNION
        SELECT user_email FROM bookings
        WHERE lower(user_email COLLATE "C") = $1 OR octet_length(user_email) <> char_length(user_email)
        "#,
        address
    )
    .fetch_all(connection)
    .await?;
    spellings.retain(|spelling| Email::from_stored(Some(spelling.clone())).normalised() == address);
    Ok(spellings)
}

/// The dead letters that mention the address. Rows are streamed, because each contains a whole message.
async fn find_letters(connection: &mut PgConnection, address: &str) -> Result<Vec<Letter>, sqlx::Error> {
    let mut rows =
        sqlx::query!("SELECT id, payload, detail, discard_reason, resolution FROM dead_letters ORDER BY id")
            .fetch(connection);
    let mut letters = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let letter = Letter {
            id: row.id,
            is_open: row.resolution.is_none(),
            in_payload: is_in_payload(&row.payload, address),
            in_texts: is_in_text(&row.detail, address)
                || row.discard_reason.is_some_and(|reason| is_in_text(&reason, address)),
        };
        if letter.in_payload || letter.in_texts {
            letters.push(letter);
        }
    }
    Ok(letters)
}

/// Replaces the payload if it mentions the address, and always the texts, which may describe the person in other words.
async fn replace(connection: &mut PgConnection, letter: &Letter) -> Result<(), sqlx::Error> {
    // The payload must be unique among dead letters with the same reason.
    let payload = format!(r#"{{"erased":"dead letter {}"}}"#, letter.id);
    sqlx::query!(
        r#"
        UPDATE dead_letters
        SET payload = CASE WHEN $2 THEN $3 ELSE payload END,
            detail = $4,
            discard_reason = CASE WHEN discard_reason IS NOT NULL THEN $4 END
        WHERE id = $1
        "#,
        letter.id,
        letter.in_payload,
        payload.as_bytes(),
        ERASED
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn is_in_payload(payload: &[u8], address: &str) -> bool {
    match serde_json::from_slice(payload) {
        Ok(json) => is_in_json(&json, address),
        Err(_) => is_in_text(&String::from_utf8_lossy(payload), address),
    }
}

fn is_in_json(json: &Value, address: &str) -> bool {
    match json {
        Value::String(text) => match Email::parse(text) {
            Ok(email) => email.normalised() == address,
            Err(_) => is_in_text(text, address),
        },
        Value::Array(values) => values.iter().any(|value| is_in_json(value, address)),
        Value::Object(members) => {
            members.iter().any(|(name, value)| is_in_text(name, address) || is_in_json(value, address))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether the text contains the address, other than as part of a longer address.
fn is_in_text(text: &str, address: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices(address).any(|(start, found)| {
        let (before, after) = (&text[..start], &text[start + found.len()..]);
        let continues = |rest: &str| rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
        let continues_before =
            before.ends_with(|last: char| last.is_alphanumeric() || "._%+-".contains(last));
        !continues_before && !continues(after) && !after.strip_prefix('.').is_some_and(continues)
    })
}

fn resolve_first(open: &[i64]) -> String {
    let ids: Vec<String> = open.iter().map(ToString::to_string).collect();
    format!(
        "These open dead letters contain a booking of this person: {}. Resolve each with `hamro-worker dead-letters reissue ID` \
         or `hamro-worker dead-letters discard ID --because REASON`, and run this command again.",
        ids.join(", ")
    )
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_applied, sales, bookings, dead_letters, open } = self;
        let what = format!("{sales} sales, {bookings} bookings and {dead_letters} resolved dead letters");
        if *is_applied {
            writeln!(f, "The person's name and address were replaced in {what}.")?;
        } else {
            writeln!(f, "Nothing was changed. --apply replaces the person's name and address in {what}.")?;
        }
        if !open.is_empty() {
            writeln!(f, "--apply refuses while dead letters are open. {}", resolve_first(open))?;
        }
        write!(
            f,
            "Not reached: bookings still in the queue (run this command again when the queue is empty), outcomes in the memory of \
             api instances (for up to a minute), dead letters that do not contain the address, logs, and backups."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_every_form_of_payload() {
        for payload in [
            r#"{"request":{"userEmail":"A_Ice@example.com"}}"#,
            r#"[{"x":["mail a_ice@example.com."]}]"#,
            r#"{"a_ice\u0040example.com":1}"#,
            r#"{"request":{"userEmail":"a_ice@example.com"#,
            "email=a_ice@example.com&x=1",
        ] {
            assert!(is_in_payload(payload.as_bytes(), "a_ice@example.com"), "{payload}");
        }
        assert!(is_in_payload(b"\xff a_ice@example.com", "a_ice@example.com"));
        assert!(is_in_payload("\"ÄLICE@example.com\"".as_bytes(), "älice@example.com"));
    }

    #[test]
    fn a_similar_address_does_not_match() {
        for payload in [
            r#"{"request":{"userEmail":"alice@example.com"}}"#,
            r#"["xa_ice@example.com","a_ice@example.com.np","o'a_ice@example.com"]"#,
            "x.a_ice@example.com a_ice@example.community a_ice@example.com-shop.np",
            "",
        ] {
            assert!(!is_in_payload(payload.as_bytes(), "a_ice@example.com"), "{payload}");
        }
    }
}
