//! Where the database stores a customer's name and e-mail address, and how a person's rows are found. Export and erasure
//! use the same search, so both reach the same rows.

use futures_util::TryStreamExt;
use hamro_shared::domain::Email;
use sqlx::postgres::PgConnection;

use super::mention::{is_in_payload, is_in_text};

/// Every column that may contain a name or an address. A new one belongs here, into the export and into the erasure.
pub const COLUMNS: [&str; 8] = [
    "bookings.user_email",
    "bookings.user_name",
    "dead_letters.detail",
    "dead_letters.discard_reason",
    "dead_letters.payload",
    "releases.reason",
    "sales.user_email",
    "sales.user_name",
];

/// A dead letter that mentions the address.
pub struct Letter {
    pub id: i64,
    pub is_open: bool,
    pub in_payload: bool,
}

/// All stored spellings of the address. Under the collation "C", Postgres folds the case of ASCII letters only, on
/// every system. Addresses that are not ASCII, or that encode a domain which is not, are therefore all fetched and compared
/// here, by the rule of [`Email::normalised`].
pub async fn find_spellings(
    connection: &mut PgConnection,
    address: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let mut spellings = sqlx::query_scalar!(
        r#"
        SELECT user_email AS "user_email!" FROM sales
        WHERE lower(user_email COLLATE "C") = $1 OR octet_length(user_email) <> char_length(user_email)
            OR position('xn--' IN lower(user_email)) > 0
        UNION
        SELECT user_email FROM bookings
        WHERE lower(user_email COLLATE "C") = $1 OR octet_length(user_email) <> char_length(user_email)
            OR position('xn--' IN lower(user_email)) > 0
        "#,
        address
    )
    .fetch_all(connection)
    .await?;
    spellings.retain(|spelling| Email::from_stored(Some(spelling.clone())).normalised() == address);
    Ok(spellings)
}

/// The dead letters that mention the address. Rows are streamed, because each contains a whole message.
pub async fn find_letters(connection: &mut PgConnection, address: &str) -> Result<Vec<Letter>, sqlx::Error> {
    let mut rows =
        sqlx::query!("SELECT id, payload, detail, discard_reason, resolution FROM dead_letters ORDER BY id")
            .fetch(connection);
    let mut letters = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let in_payload = is_in_payload(&row.payload, address);
        let in_texts = is_in_text(&row.detail, address)
            || row.discard_reason.is_some_and(|reason| is_in_text(&reason, address));
        if in_payload || in_texts {
            letters.push(Letter { id: row.id, is_open: row.resolution.is_none(), in_payload });
        }
    }
    Ok(letters)
}
