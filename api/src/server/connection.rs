//! Serves the connections of an instance, and drains them at shutdown.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::detached_streams::{self, DetachedStream};

/// How often the server pings an HTTP/2 client, and how long the client may take to respond.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The open connections of an instance, detached event streams included.
pub(super) struct Connections {
    server: ConnectionServer,
    graceful: GracefulShutdown,
}

/// Serves one connection. Each connection has a clone.
#[derive(Clone)]
struct ConnectionServer {
    http: Builder<TokioExecutor>,
    router: Router,
    /// How long a client may take to send the head of a request.
    head_timeout: Duration,
    /// Closes all connections at once.
    abort_all: CancellationToken,
}

impl Connections {
    pub fn new(router: Router, head_timeout: Duration) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let abort_all = CancellationToken::new();
        let server = ConnectionServer { http, router, head_timeout, abort_all };
        Self { server, graceful: GracefulShutdown::new() }
    }

    /// Serves a connection in its own task. Each request carries the address of its peer.
    pub fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let server = self.server.clone();
        let watcher = self.graceful.watcher();
        // The drain waits for every watcher. This one lasts as long as a detached stream, which hyper's connection does
        // not.
        let open = self.graceful.watcher();
        tokio::spawn(async move {
            let Some(stream) = server.serve(stream, peer, watcher).await else { return };
            let abort_all = server.abort_all.clone();
            // A smaller task: this one has room for everything that hyper needs.
            tokio::spawn(async move {
                let _open = open;
                tokio::select! {
                    () = stream.send() => {}
                    () = abort_all.cancelled() => {}
                }
            });
        });
    }

    /// Lets requests in flight finish and closes idle connections. Closes all others after `limit`.
    pub async fn drain(self, limit: Duration) {
        if timeout(limit, self.graceful.shutdown()).await.is_err() {
            warn!("shutdown timed out: closing connections whose clients have not read their responses");
            self.server.abort_all.cancel();
        }
    }
}

impl ConnectionServer {
    /// Serves a connection until it ends or its event stream is detached. Returns that stream.
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) -> Option<DetachedStream> {
        let has_requested = AtomicBool::new(false);
        let respond = |mut request: Request<Incoming>| {
            has_requested.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            self.router.clone().oneshot(request)
        };
        let serving = detached_streams::serve(&self.http, watcher, stream, respond);
        tokio::select! {
            stream = serving => stream,
            () = self.abort_all.cancelled() => None,
            () = first_request_timeout(&has_requested, self.head_timeout) => {
                debug!("closed a connection on which no request arrived");
                None
            }
        }
    }
}

/// Resolves if no request has arrived within `limit`. hyper's own timeout starts only once it has read enough to
/// recognise the version of HTTP.
async fn first_request_timeout(has_requested: &AtomicBool, limit: Duration) {
    let _ = timeout(limit, pending::<()>()).await;
    if has_requested.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}
