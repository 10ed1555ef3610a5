//! Serves HTTP until it is asked to stop, and then answers what is in flight.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::ConnectInfo;
use hamro_shared::backoff::Backoff;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::config::HttpConfig;

/// How long a client may leave what it was sent unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

pub async fn bind(config: &HttpConfig) -> anyhow::Result<TcpListener> {
    let address = config.address;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: set HOST and PORT to an address that is free"))
}

/// How long clients are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
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
    patience: Patience,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    raise_limit_of_open_files();
    info!("listening on http://{}", listener.local_addr()?);
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(patience.head);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIMEOUT);
    let (connections, abandon) = (GracefulShutdown::new(), CancellationToken::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = stop.cancelled() => break,
        };
        // Answers and events are small and written whole: none should wait for the client's acknowledgement of the last.
        let _ = stream.set_nodelay(true);
        // Or a client that went away without a word would keep its stream, and a stopping process, for a quarter of an hour.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = has_asked.clone();
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = connections.watch(connection.into_owned());
        let abandoned = abandon.clone();
        tokio::spawn(async move {
            tokio::select! {
                result = connection => if let Err(error) = result {
                    debug!("a connection ended early: {error}");
                },
                () = abandoned.cancelled() => {}
                () = silence(&has_asked, patience.head) => debug!("a connection was opened and never used"),
            }
        });
    }
    drop(listener);
    if timeout(patience.drain, connections.shutdown()).await.is_err() {
        warn!("left clients that do not take their answers");
        abandon.cancel();
    }
    Ok(())
}

/// Returns once so much time has passed without a single request. hyper has a limit of its own, which begins only when it
/// has seen enough bytes to know which HTTP they are.
async fn silence(has_asked: &AtomicBool, limit: Duration) {
    let _ = timeout(limit, pending::<()>()).await;
    if has_asked.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
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
