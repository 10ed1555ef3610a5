//! Serves HTTP until it is asked to stop, and then answers what is in flight.

pub mod config;
mod connection;
mod detached_streams;
pub mod middleware;
pub mod rate_limit;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hamro_shared::backoff::Backoff;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::config::HttpConfig;
use self::connection::Connections;

/// How long a client may leave what it was sent unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);

/// Connections that may wait until they are accepted. The usual 1024 are not enough in the moment a sale opens: a client who
/// finds no room is dropped without a word, and tries again after a second. The kernel has the last word
/// (`net.core.somaxconn`, 4096).
const BACKLOG: u32 = 65_535;

/// Needs a runtime around it.
pub fn bind(config: &HttpConfig) -> anyhow::Result<TcpListener> {
    let address = config.address;
    listen(address)
        .with_context(|| format!("cannot listen on {address}: set HOST and PORT to an address that is free"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How long clients are waited for.
#[derive(Clone, Copy, Debug)]
pub struct ServerTimeouts {
    /// For the head of a request, also between two on one connection.
    pub head: Duration,
    /// For the last of them to take their answers, once the process is stopping.
    pub drain: Duration,
}

/// Takes connections until `stop` is cancelled, and returns once the last of them has got its answers. Each request
/// carries the address of its peer.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    timeouts: ServerTimeouts,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    raise_limit_of_open_files();
    info!("listening on http://{}", listener.local_addr()?);
    let connections = Connections::new(router, timeouts.head, stop.clone());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = stop.cancelled() => break,
        };
        // Answers and events are small and written whole: none should wait for the client's acknowledgement of the last.
        let _ = stream.set_nodelay(true);
        // Or a client that went away without a word would keep its stream, and a stopping process, for a quarter of an hour.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        connections.serve(stream, peer);
    }
    drop(listener);
    if timeout(timeouts.drain, connections.ended()).await.is_err() {
        warn!("left clients that do not take their answers");
        connections.abort_all();
    }
    Ok(())
}

/// The next connection. There may be none for a while, as when the process has as many files open as it may.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => warn!("cannot take a connection: {error}"),
        }
        backoff.pause().await;
    }
}

/// Each connection is an open file, and the usual limit of 1024 is a courtesy to programs that cannot do with more: every
/// process may raise it to the hard limit by itself.
fn raise_limit_of_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("cannot raise the limit of open files: {error}");
    }
}
