//! Serves the connections of an instance, and drains them at shutdown.

use std::future::ready;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use futures_util::TryFutureExt;
use futures_util::future::Either;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::activity::{Activity, ConnectionTimeouts, Verdict};
use super::admission::Place;
use super::config::EventStreamMode;
use super::detached_streams::{self, DetachedStream};
use super::graceful::close_gracefully;
use super::guarded_socket::GuardedSocket;
use super::head;
use super::path::remove_extra_slashes;
use super::request_counts::{RequestCounts, Unrouted};
use super::response_body::end_with_response;
use super::response_stream::StreamExecutor;
use crate::http::bound::Held;
use crate::http::problem::Problem;

/// How often the server pings an HTTP/2 client, and how long the client may take to respond.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection that has carried no request may wait for its first one, once idle connections are closed. A proxy
/// sends a request as soon as its connection is open.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a refused connection may take for its request.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest head of a request. A larger one gets 431.
const HEAD_MAX: u32 = 16 * 1024;

/// What hyper keeps of the unsent responses of one HTTP/2 stream.
const SEND_BUFFER_MAX: usize = 64 * 1024;

/// What one connection may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionConfig {
    pub timeouts: ConnectionTimeouts,
    /// The maximum number of open streams of an HTTP/2 connection.
    pub http2_streams_max: NonZeroU32,
}

/// The open connections of an instance, detached event streams included.
pub(super) struct Connections {
    server: ConnectionServer,
    /// The drain waits for every connection and every detached stream.
    open: TaskTracker,
}

/// Serves one connection. Each connection has a clone.
#[derive(Clone)]
struct ConnectionServer {
    http: Builder<StreamExecutor>,
    router: Router,
    timeouts: ConnectionTimeouts,
    event_streams: EventStreamMode,
    counts: RequestCounts,
    /// Once cancelled, a connection is closed after its next response.
    draining: CancellationToken,
    /// Once cancelled, idle connections are closed, and all others after their requests in progress.
    closing: CancellationToken,
    /// Closes all connections at once.
    abort_all: CancellationToken,
}

impl Connections {
    pub fn new(
        router: Router,
        config: &ConnectionConfig,
        event_streams: EventStreamMode,
        counts: RequestCounts,
        draining: CancellationToken,
    ) -> Self {
        let timeouts = config.timeouts;
        let mut http = Builder::new(StreamExecutor::new(timeouts.write));
        // A client may close its sending side after its last request, as `nc -N` does, and still read the responses. It
        // cannot be told from one that is gone until something is sent: a wait ends at its time limit, an event stream
        // at the next write. `Activity` limits the time for a head.
        http.http1().header_read_timeout(None).half_close(true).max_buf_size(HEAD_MAX as usize);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(HEAD_MAX)
            .max_send_buf_size(SEND_BUFFER_MAX)
            .max_concurrent_streams(config.http2_streams_max.get());
        let server = ConnectionServer {
            http,
            router,
            timeouts,
            event_streams,
            counts,
            draining,
            closing: CancellationToken::new(),
            abort_all: CancellationToken::new(),
        };
        Self { server, open: TaskTracker::new() }
    }

    /// Serves a connection in its own task. Each request carries the address of its peer.
    pub fn serve(&self, socket: TcpStream, peer: SocketAddr, held: Held) {
        let server = self.server.clone();
        // Lasts as long as a detached stream, which hyper's connection does not.
        let open = self.open.token();
        tokio::spawn(async move {
            let Some(event_stream) = server.serve(socket, peer, None).await else { return };
            let abort_all = server.abort_all.clone();
            // A smaller task: this one has room for everything that hyper needs.
            tokio::spawn(async move {
                let _open = (open, held);
                tokio::select! {
                    () = event_stream.send() => {}
                    () = abort_all.cancelled() => {}
                }
            });
        });
    }

    /// Serves a connection that is one too many: answers a health check, and any other request with the problem.
    pub fn refuse(&self, socket: TcpStream, peer: SocketAddr, mut place: Place, problem: Problem) {
        let server = self.server.clone();
        let open = self.open.token();
        tokio::spawn(async move {
            let _open = open;
            let serving = timeout(REFUSAL_TIMEOUT, server.serve(socket, peer, Some(problem)));
            tokio::select! {
                _ = serving => {}
                () = place.displaced() => {}
            }
        });
    }

    /// Lets requests in flight finish and closes idle connections. Closes all others after `limit`.
    pub async fn drain(self, limit: Duration) {
        self.server.closing.cancel();
        self.open.close();
        if timeout(limit, self.open.wait()).await.is_err() {
            warn!("shutdown timed out: closing connections whose clients have not read their responses");
            self.server.abort_all.cancel();
        }
    }
}

impl ConnectionServer {
    /// Serves a connection until it ends or its event stream is detached. Returns that stream.
    ///
    /// If there is a `refusal`, it is the response to everything but health checks, and the connection is then closed.
    async fn serve(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        refusal: Option<Problem>,
    ) -> Option<DetachedStream> {
        let activity = Activity::new(self.timeouts);
        let closing = CancellationToken::new();
        let socket = GuardedSocket::new(socket, activity.clone());
        let respond = |mut request: Request<Incoming>| {
            let in_progress = activity.begin_request(request.version());
            remove_extra_slashes(request.uri_mut());
            request.extensions_mut().insert(ConnectInfo(peer));
            let (version, draining) = (request.version(), self.draining.clone());
            let is_refused = refusal.is_some();
            let mut preflight = None;
            let response = match refuse(refusal.as_ref(), &request) {
                Some((reason, response)) => {
                    self.counts.count_unrouted(reason, request.method(), &response);
                    Either::Left(ready(Ok(response)))
                }
                None => {
                    preflight = (request.method() == Method::OPTIONS).then(|| self.counts.clone());
                    Either::Right(self.router.clone().oneshot(request))
                }
            };
            response.map_ok(move |mut response| {
                if let Some(counts) = preflight {
                    counts.count_unrouted(Unrouted::Preflight, &Method::OPTIONS, &response);
                }
                head::complete(version, &mut response);
                // Clients of HTTP/2 receive GOAWAY once the listener is closed.
                if is_refused || draining.is_cancelled() {
                    head::announce_close(version, &mut response);
                }
                end_with_response(in_progress, response)
            })
        };
        let serving = async {
            match self.event_streams {
                EventStreamMode::Detached => {
                    let write_timeout = self.timeouts.write;
                    detached_streams::serve(&self.http, &closing, socket, write_timeout, respond).await
                }
                EventStreamMode::Hyper => {
                    let connection = self.http.serve_connection(TokioIo::new(socket), service_fn(respond));
                    // Boxed, because the futures around this one would otherwise contain it several times.
                    if let Err(error) = Box::pin(close_gracefully(connection, &closing)).await {
                        debug!("a connection failed: {error}");
                    }
                    None
                }
            }
        };
        tokio::select! {
            // The activity changes while the connection is served, and is watched afterwards.
            biased;
            event_stream = serving => event_stream,
            () = self.abort_all.cancelled() => None,
            reason = self.until_overdue(&activity, &closing) => {
                debug!("closed a connection: {reason}");
                None
            }
        }
    }

    /// Closes the connection gracefully when it is time. Resolves if it has to be closed at once.
    async fn until_overdue(&self, activity: &Activity, closing: &CancellationToken) -> &'static str {
        let mut shutdown = pin!(async {
            self.closing.cancelled().await;
            // A booking may be on its way: if the connection were closed now, its client would not know what became of it.
            let _ = timeout(FIRST_REQUEST_TIMEOUT, activity.first_request()).await;
            closing.cancel();
        });
        loop {
            tokio::select! {
                biased;
                verdict = activity.watch() => match verdict {
                    Verdict::CloseGracefully => closing.cancel(),
                    Verdict::CloseNow(reason) => return reason,
                },
                () = shutdown.as_mut(), if !closing.is_cancelled() => {}
            }
        }
    }
}

/// The response to a request that must not reach the router: its connection is one too many, and it is no health check, or
/// its head is invalid.
fn refuse(too_many: Option<&Problem>, request: &Request<Incoming>) -> Option<(Unrouted, Response)> {
    match too_many.filter(|_| !request.uri().path().starts_with("/health/")) {
        Some(problem) => Some((Unrouted::RefusedConnection, problem.clone().into_response())),
        None => head::refusal(request).map(|response| (Unrouted::InvalidHead, response)),
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
    use crate::http::bound::{Bound, ClientShare};
    use crate::http::client_address::Client;

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
        let timeouts = ConnectionTimeouts { idle: Duration::from_mins(1), write: Duration::from_mins(1) };
        let config = ConnectionConfig { timeouts, http2_streams_max: NonZeroU32::MIN };
        let counts = RequestCounts::default();
        let connections = Connections::new(router, &config, mode, counts, draining);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        connections.serve(socket, peer, Bound::new(1, ClientShare::WHOLE).hold(Client(None), 1).unwrap());
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
    async fn the_drain_serves_the_first_request_of_a_connection() {
        for mode in MODES {
            let (connections, mut client, _end) = connect(mode).await;
            let drain = tokio::spawn(connections.drain(Duration::from_mins(1)));
            // Twice, so that the drain has begun in any case.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            client.write_all(b"GET /other HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
            read_until(&mut client, "other").await;
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "{mode:?}: and no other one");
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
