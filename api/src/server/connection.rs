//! Connections: hyper reads the requests and writes the answers, but for event streams, which do without it.
//!
//! For as long as a connection lasts, hyper keeps a buffer of 8 KB to read into, another to write from, and a task that has
//! room for either HTTP. An event stream lasts for minutes and needs none of it: its client has said all that it will say,
//! and events are small. So where one begins on HTTP/1.1 the socket is taken back from hyper, and the answer goes its own
//! way (`detached_streams`). `make bench-intake ARGS=streams` shows what that saves.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Method, Version};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::debug;

use super::detached_streams::sender;
use super::detached_streams::socket::DetachableSocket;

/// How often an HTTP/2 client is asked whether it is still there, and how long it has to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// All connections of an instance. Clones are of the same.
#[derive(Clone)]
pub(super) struct Connections {
    http: Builder<TokioExecutor>,
    router: Router,
    /// How long a client may take for the head of a request.
    head: Duration,
    /// Asks them to end as soon as what is in flight has been answered.
    stop: CancellationToken,
    abort_all: CancellationToken,
    tasks: TaskTracker,
}

/// The answer that a connection has handed over, to be sent without hyper.
type DetachedResponse = Arc<Mutex<Option<Response>>>;

impl Connections {
    pub fn new(router: Router, head: Duration, stop: CancellationToken) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(head);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http, router, head, stop, abort_all: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Serves a connection, in a task of its own. Each request carries the address of its peer.
    pub fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let this = self.clone();
        self.tasks.spawn(async move {
            if let Some((stream, answer)) = this.answer(stream, peer).await {
                // In a task of its own once more: this one has room for all that hyper needs.
                let sending = sender::send(stream, answer);
                this.tasks.spawn(this.abort_all.clone().run_until_cancelled_owned(sending));
            }
        });
    }

    /// Returns once the last connection has ended.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Leaves all that are still there.
    pub fn abort_all(&self) {
        self.abort_all.cancel();
    }

    /// Answers one request after the other, until the connection ends or an event stream begins on it.
    async fn answer(&self, stream: TcpStream, peer: SocketAddr) -> Option<(TcpStream, Response)> {
        let socket = DetachableSocket::new(stream);
        let detached = DetachedResponse::default();
        let has_requested = AtomicBool::new(false);
        let service = service_fn(|mut request: Request<Incoming>| {
            has_requested.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            let may_detach = request.method() == Method::GET && request.version() == Version::HTTP_11;
            let (answering, detached) = (self.router.clone().oneshot(request), detached.clone());
            async move {
                let answer = answering.await?;
                if may_detach && sender::is_event_stream(&answer) {
                    *detached.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                    // hyper is not to begin an answer.
                    return pending().await;
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut connection = Box::pin(self.http.serve_connection(TokioIo::new(socket.clone()), service));
        let mut is_stopping = false;
        loop {
            tokio::select! {
                answer = until_detached(connection.as_mut(), &socket, &detached) => {
                    drop(connection);
                    return socket.detach().zip(answer);
                }
                () = self.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.abort_all.cancelled() => return None,
                () = first_request_timeout(&has_requested, self.head) => {
                    debug!("a connection was opened and never used");
                    return None;
                }
            }
        }
    }
}

/// Runs the connection until it has handed over an answer, and has sent all that came before it. Nothing, if it ends.
async fn until_detached<C, E>(
    mut connection: Pin<&mut C>,
    socket: &DetachableSocket,
    detached: &DetachedResponse,
) -> Option<Response>
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    poll_fn(|context| match connection.as_mut().poll(context) {
        Poll::Ready(result) => {
            if let Err(error) = result {
                debug!("a connection ended early: {error}");
            }
            Poll::Ready(None)
        }
        Poll::Pending if socket.is_flushed() => {
            match detached.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(answer) => Poll::Ready(Some(answer)),
                None => Poll::Pending,
            }
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Returns once so much time has passed without a single request. hyper has a limit of its own, which begins only when it
/// has seen enough bytes to know which HTTP they are.
async fn first_request_timeout(has_requested: &AtomicBool, limit: Duration) {
    let _ = timeout(limit, pending::<()>()).await;
    if has_requested.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_handed_over_only_when_all_before_it_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = DetachableSocket::new(stream);
        let detached = DetachedResponse::new(Mutex::new(Some("an answer".into_response())));
        let take = async |socket: &DetachableSocket| {
            let mut connection = pending::<Result<(), std::io::Error>>();
            until_detached(Pin::new(&mut connection), socket, &detached).await
        };

        let bytes = vec![0; 1 << 20];
        while socket.write(&bytes).now_or_never().is_some() {}
        assert!(take(&socket).now_or_never().is_none());
        let mut read = vec![0; 1 << 20];
        while socket.write(&bytes).now_or_never().is_none() {
            let _ = client.read(&mut read).await.unwrap();
        }
        assert!(take(&socket).now_or_never().flatten().is_some());
    }
}
