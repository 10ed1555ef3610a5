//! Serves the connections of an instance, and drains them at shutdown.

use std::future::{pending, ready};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::TryFutureExt;
use futures_util::future::Either;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::config::EventStreamMode;
use super::detached_streams::{self, DetachedStream};
use super::head;
use super::path::remove_extra_slashes;

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
    event_streams: EventStreamMode,
    /// Once cancelled, a connection is closed after its next response.
    draining: CancellationToken,
    /// Closes all connections at once.
    abort_all: CancellationToken,
}

impl Connections {
    pub fn new(
        router: Router,
        head_timeout: Duration,
        event_streams: EventStreamMode,
        draining: CancellationToken,
    ) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        // A client may close its sending side after its last request, as `nc -N` does, and still read the responses. It
        // cannot be told from one that is gone until something is sent: a wait ends at its time limit, an event stream
        // at the next write.
        http.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).half_close(true);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let abort_all = CancellationToken::new();
        let server = ConnectionServer { http, router, head_timeout, event_streams, draining, abort_all };
        Self { server, graceful: GracefulShutdown::new() }
    }

    /// Serves a connection in its own task. Each request carries the address of its peer.
    pub fn serve(&self, socket: TcpStream, peer: SocketAddr) {
        let server = self.server.clone();
        let watcher = self.graceful.watcher();
        // The drain waits for every watcher. This one lasts as long as a detached stream, which hyper's connection does
        // not.
        let open = self.graceful.watcher();
        tokio::spawn(async move {
            let Some(event_stream) = server.serve(socket, peer, watcher).await else { return };
            let abort_all = server.abort_all.clone();
            // A smaller task: this one has room for everything that hyper needs.
            tokio::spawn(async move {
                let _open = open;
                tokio::select! {
                    () = event_stream.send() => {}
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
    async fn serve(&self, socket: TcpStream, peer: SocketAddr, watcher: Watcher) -> Option<DetachedStream> {
        let has_requested = AtomicBool::new(false);
        let respond = |mut request: Request<Incoming>| {
            has_requested.store(true, Ordering::Relaxed);
            remove_extra_slashes(request.uri_mut());
            request.extensions_mut().insert(ConnectInfo(peer));
            let (version, draining) = (request.version(), self.draining.clone());
            let response = match head::refusal(&request) {
                Some(response) => Either::Left(ready(Ok(response))),
                None => Either::Right(self.router.clone().oneshot(request)),
            };
            response.map_ok(move |mut response| {
                head::complete(version, &mut response);
                // Clients of HTTP/2 receive GOAWAY once the listener is closed.
                if draining.is_cancelled() {
                    head::announce_close(version, &mut response);
                }
                response
            })
        };
        let serving = async {
            match self.event_streams {
                EventStreamMode::Detached => {
                    detached_streams::serve(&self.http, watcher, socket, respond).await
                }
                EventStreamMode::Hyper => {
                    let connection = self.http.serve_connection(TokioIo::new(socket), service_fn(respond));
                    // Boxed, because the futures around this one would otherwise contain it several times.
                    if let Err(error) = Box::pin(watcher.watch(connection)).await {
                        debug!("a connection failed: {error}");
                    }
                    None
                }
            }
        };
        tokio::select! {
            event_stream = serving => event_stream,
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::response::sse::{Event, Sse};
    use axum::routing::get;
    use futures_util::{FutureExt, StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    const MODES: [EventStreamMode; 2] = [EventStreamMode::Detached, EventStreamMode::Hyper];
    const GET_STREAM: &[u8] = b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n";

    /// Serves one connection, whose event stream sends one event and ends once `end` is dropped.
    async fn connect(mode: EventStreamMode) -> (Connections, TcpStream, oneshot::Sender<()>) {
        let (end, ended) = oneshot::channel::<()>();
        let ended = ended.map(|_| ()).shared();
        let stream = move || {
            let first = stream::once(async { Ok::<_, Infallible>(Event::default().data("first")) });
            let events = first.chain(stream::pending()).take_until(ended.clone());
            ready(Sse::new(events))
        };
        let router = Router::new().route("/stream", get(stream)).route("/other", get(async || "other"));
        let draining = CancellationToken::new();
        let connections = Connections::new(router, Duration::from_mins(1), mode, draining);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        connections.serve(socket, peer);
        (connections, client, end)
    }

    async fn read_until(client: &mut TcpStream, marker: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(marker) {
            assert_ne!(client.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
        String::from_utf8(read).unwrap()
    }

    #[tokio::test]
    async fn an_event_stream_closes_its_connection_only_if_it_is_detached() {
        for mode in MODES {
            let (_connections, mut client, end) = connect(mode).await;
            client.write_all(GET_STREAM).await.unwrap();
            let head = read_until(&mut client, "data: first\n\n").await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert_eq!(head.contains("connection: close"), mode == EventStreamMode::Detached, "{head}");
            drop(end);
            read_until(&mut client, "0\r\n\r\n").await;
            match mode {
                EventStreamMode::Detached => assert_eq!(client.read(&mut [0]).await.unwrap(), 0),
                EventStreamMode::Hyper => {
                    client.write_all(b"GET /other HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
                    read_until(&mut client, "other").await;
                }
            }
        }
    }

    #[tokio::test]
    async fn the_drain_waits_for_an_open_event_stream() {
        for mode in MODES {
            let (connections, mut client, end) = connect(mode).await;
            client.write_all(GET_STREAM).await.unwrap();
            read_until(&mut client, "data: first\n\n").await;
            let drain = tokio::spawn(connections.drain(Duration::from_mins(1)));
            // Twice, so that the drain has begun in any case.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert!(!drain.is_finished(), "{mode:?}");
            drop(end);
            read_until(&mut client, "0\r\n\r\n").await;
            drop(client);
            timeout(Duration::from_secs(30), drain).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_drain_that_times_out_closes_open_event_streams() {
        for mode in MODES {
            let (connections, mut client, _end) = connect(mode).await;
            client.write_all(GET_STREAM).await.unwrap();
            read_until(&mut client, "data: first\n\n").await;
            connections.drain(Duration::from_millis(1)).await;
            // The last chunk is missing, or the connection is reset.
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest).await;
            assert_eq!(rest, b"", "{mode:?}");
        }
    }
}
