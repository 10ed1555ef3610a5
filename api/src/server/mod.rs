//! The HTTP server: accepts connections until shutdown, then lets the requests in flight finish.
//!
//! docs/decisions/0016-our-own-accept-loop.md explains why this is not `axum::serve`.

mod activity;
pub mod admission;
pub mod config;
mod connection;
mod detached_streams;
mod graceful;
mod guarded_socket;
mod head;
mod host;
pub mod listener;
mod logged_request;
pub mod middleware;
mod pace;
mod path;
pub mod rate_limit;
pub mod request_counts;
pub mod request_id;
pub mod request_span;
mod response_body;
mod response_stream;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hamro_shared::backoff::Backoff;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::admission::{Admission, Admitted};
use self::config::HttpConfig;
use self::connection::Connections;
use self::listener::{LAST_HANDSHAKES, begin_no_more_handshakes};

/// How long sent data may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_mins(1);

/// What the kernel takes of a response, in addition to what is on its way to the client.
const UNSENT_MAX: u32 = 128 * 1024;

/// Accepts connections until `stop` is cancelled, as far as `admission` allows it. Returns once all are closed, or after
/// `last_responses`. Once `draining` is cancelled, each HTTP/1.1 response asks its client to reconnect.
/// Each request carries the address of its peer.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: HttpConfig,
    admission: Admission,
    last_responses: Duration,
    draining: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    info!("listening on http://{}", listener.local_addr()?);
    let connections =
        Connections::new(router, &config.connection, config.event_streams, admission.counts(), draining);
    let admit = async |(socket, peer): (TcpStream, SocketAddr)| {
        // Responses and events are small and written whole. None should wait until the client acknowledges the previous
        // one.
        let _ = socket.set_nodelay(true);
        // Otherwise a client that vanished would keep its stream open, and delay a shutdown, for a quarter of an hour.
        let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
        // The kernel would otherwise take megabytes that the client may never read, and wait until a third of them is
        // read before it takes more.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_MAX);
        match admission.admit(peer.ip()).await {
            Admitted::Open(held) => connections.serve(socket, peer, held),
            Admitted::Refusing(place, problem) => connections.refuse(socket, peer, place, problem),
        }
    };
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener)).await {
        admit(accepted).await;
    }
    begin_no_more_handshakes(&listener);
    let last = Instant::now() + LAST_HANDSHAKES;
    while let Ok(accepted) = timeout_at(last, accept(&listener)).await {
        admit(accepted).await;
    }
    drop(listener);
    connections.drain(last_responses).await;
    Ok(())
}

/// Accepts the next connection. Retries with a backoff after an error, such as too many open files (EMFILE).
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => warn!("cannot accept a connection: {error}; retrying"),
        }
        backoff.pause().await;
    }
}
