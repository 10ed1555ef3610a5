//! Helpers for unit tests.

use std::num::NonZeroU16;

use hamro_shared::database::{Database, Sessions};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The task ends as soon as `stop` is cancelled, although its query gets no response.
pub async fn assert_ends_at_once<F>(task: impl FnOnce(Database, CancellationToken) -> F)
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = PgConnectOptions::new().host("127.0.0.1").port(silent.local_addr().unwrap().port());
    let database = Database::new(Sessions::new(server, &[]), NonZeroU16::MIN);
    let stop = CancellationToken::new();
    let running = tokio::spawn(task(database.clone(), stop.clone()));
    let _connection = silent.accept().await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(database.open_failure(), None, "it ended only when the query had failed");
}
