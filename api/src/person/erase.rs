//! `hamro-api person erase`: replaces a person's name and e-mail address everywhere in the database, at that person's request.
//!
//! Seats, counters, statuses, outcomes and idempotency digests do not change. The placeholders pass the rules for
//! input, so that older versions can read the rows. The digests of the address are erased too: who guesses the address could
//! recognise the person by them. So seats of the person no longer count towards a limit of seats per customer.

use std::fmt::{self, Display};

use anyhow::{Context, bail};
use hamro_shared::domain::{CustomerDigest, CustomerDigests, CustomerName, Email};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::not_a_placeholder;
use super::stored::{Letter, find_letters, find_spellings};

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

/// Replaces a text about the person.
pub(crate) const ERASED: &str = "erased";

pub async fn erase(connection: &mut PgConnection, arguments: &Arguments) -> anyhow::Result<Report> {
    let address = not_a_placeholder(&arguments.email)?;
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
    // Before the sales, which no longer have the address then. The reasons may describe the person.
    sqlx::query!(
        "UPDATE releases SET reason = $2 FROM sales WHERE sales.id = releases.sale_id AND sales.user_email = ANY($1)",
        &spellings,
        ERASED
    )
    .execute(&mut *transaction)
    .await?;
    let sales = sqlx::query!(
        r#"
        UPDATE sales SET user_name = $2, user_email = $3, customer_digest = NULL, tagged_digest = NULL
        WHERE user_email = ANY($1)
        "#,
        &spellings,
        name.as_str(),
        email.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    // Before `dead_letters` is locked, which workers write after they have locked a customer.
    let digest = CustomerDigests::of(&Email::from_stored(Some(address.to_owned()))).mailbox;
    sqlx::query!("DELETE FROM customer_locks WHERE customer_digest = $1", digest as CustomerDigest)
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
             api instances (for up to a minute), dead letters that do not contain the address, and backups."
        )
    }
}
