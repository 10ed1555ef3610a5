//! Closes a connection once its requests in progress are finished.

use hyper_util::server::graceful::GracefulConnection;
use std::pin::pin;
use tokio_util::sync::CancellationToken;

/// Drives a connection until it ends. Once `closing` is cancelled, it accepts no more requests: HTTP/2 clients receive
/// `GOAWAY`.
pub async fn close_gracefully<C: GracefulConnection>(
    connection: C,
    closing: &CancellationToken,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
