//! Creates something once, however often a client retries the request.

use hamro_shared::database::{Database, Work};
use sqlx::postgres::PgConnection;

use super::queries::creation_keys;
use crate::http::created::Created;
use crate::http::keyed_body::RequestKey;
use crate::http::problem::{Problem, ProblemCode};

/// Runs `create` in a transaction. With a key, its response is stored in the same transaction, and a retry gets the
/// stored response. Requests with the same key wait for each other. A request that fails holds no key.
pub async fn create_once<W>(
    database: &Database,
    key: Option<RequestKey>,
    create: W,
) -> Result<Result<Created, Problem>, sqlx::Error>
where
    W: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, Result<Created, Problem>> + Send + 'static,
{
    database
        .transaction(move |connection| {
            Box::pin(async move {
                match key {
                    Some(key) => create_with_key(connection, key, create).await,
                    None => create(connection).await,
                }
            })
        })
        .await
}

async fn create_with_key<W>(
    connection: &mut PgConnection,
    key: RequestKey,
    create: W,
) -> Result<Result<Created, Problem>, sqlx::Error>
where
    W: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, Result<Created, Problem>> + Send + 'static,
{
    creation_keys::lock(connection, &key).await?;
    if let Some(earlier) = creation_keys::find(connection, &key).await? {
        return Ok(if earlier.request_hash == key.request_hash {
            Ok(earlier.response)
        } else {
            Err(reused())
        });
    }
    let created = create(connection).await?;
    if let Ok(response) = &created {
        creation_keys::delete_expired(connection).await?;
        creation_keys::insert(connection, &key, response).await?;
    }
    Ok(created)
}

fn reused() -> Problem {
    Problem::new(
        ProblemCode::IdempotencyKeyReused,
        "This Idempotency-Key was used for another request. Use a new key for each request.",
    )
}
