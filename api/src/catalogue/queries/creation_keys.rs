use sqlx::postgres::PgConnection;

use crate::http::created::Created;
use crate::http::keyed_body::RequestKey;

/// An earlier request with a key.
pub struct EarlierRequest {
    pub request_hash: Vec<u8>,
    pub response: Created,
}

/// Locks the key until the end of the transaction. It may not be stored yet.
pub async fn lock(connection: &mut PgConnection, key: &RequestKey) -> Result<(), sqlx::Error> {
    // Two keys that share these 64 bits only wait for each other.
    let mut number = [0; 8];
    number.copy_from_slice(&key.digest[..8]);
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", i64::from_be_bytes(number)).execute(connection).await?;
    Ok(())
}

/// The earlier request with this key, unless it has expired.
pub async fn find(
    connection: &mut PgConnection,
    key: &RequestKey,
) -> Result<Option<EarlierRequest>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        SELECT request_hash, location, etag, body
        FROM creation_keys
        WHERE key_digest = $1 AND created_at > now() - interval '24 hours'
        "#,
        &key.digest
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| EarlierRequest {
        request_hash: row.request_hash,
        response: Created { location: row.location, etag: row.etag, body: row.body },
    }))
}

/// Deletes some expired keys: more than one request adds, so that they do not accumulate.
pub async fn delete_expired(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM creation_keys
        WHERE key_digest IN (
            SELECT key_digest
            FROM creation_keys
            WHERE created_at < now() - interval '24 hours'
            ORDER BY created_at
            LIMIT 100
            FOR UPDATE SKIP LOCKED
        )
        "#
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores the response for retries. An expired request may still hold the key.
pub async fn insert(
    connection: &mut PgConnection,
    key: &RequestKey,
    response: &Created,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO creation_keys (key_digest, request_hash, location, etag, body)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key_digest) DO UPDATE
        SET request_hash = excluded.request_hash, location = excluded.location, etag = excluded.etag,
            body = excluded.body, created_at = excluded.created_at
        "#,
        &key.digest,
        &key.request_hash,
        response.location,
        response.etag,
        response.body
    )
    .execute(connection)
    .await?;
    Ok(())
}
