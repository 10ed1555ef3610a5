//! Sends event streams over HTTP/1.1 without hyper, because they then take less memory.
//!
//! **Goal:** 50 000 followers, the default of `STREAMS_MAX`, on one instance within 512 MB: at most 10 KB per stream. A
//! detached stream takes about 5 KB. With hyper it takes about 23 KB, and 50 000 take 1.2 GB: for as long as a
//! connection is open, hyper keeps an 8 KB read buffer, a write buffer and a task that is large enough for either
//! version of HTTP. A stream needs none of these, because its client sends nothing more and its events are small.
//! The benchmark `make bench-intake ARGS=streams` measures both.
//!
//! hyper parses every request and writes every other response. When a handler returns an event stream on HTTP/1.1, this
//! module waits until hyper has written all earlier responses, detaches the socket from hyper ([`socket`]), writes the
//! response itself ([`sender`], [`framing`]) and closes the connection.
//!
//! [`serve`] is the only entry. With `EVENT_STREAMS=hyper` it is not called, and none of this module runs. See
//! docs/decisions/0006-event-streams-leave-hyper.md.

mod framing;
mod sender;
mod socket;

use std::convert::Infallible;
use std::error::Error;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(super) use self::sender::DetachedStream;
use self::socket::DetachableSocket;
use super::graceful::close_gracefully;
use super::guarded_socket::GuardedSocket;
use super::response_stream::StreamExecutor;

/// The response that was detached from hyper, once there is one.
type DetachedResponse = Arc<Mutex<Option<Response>>>;

/// Serves a connection until it ends or an event stream starts on it. Returns the event stream, which is still to be
/// sent. Once `closing` is cancelled, the connection accepts no more requests.
pub(super) async fn serve<F>(
    http: &Builder<StreamExecutor>,
    closing: &CancellationToken,
    socket: GuardedSocket,
    write_timeout: Duration,
    respond: impl Fn(Request<Incoming>) -> F,
) -> Option<DetachedStream>
where
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let socket = DetachableSocket::new(socket);
    let detached = DetachedResponse::default();
    let service = service_fn(|request| {
        // HTTP/2 carries many streams on one connection, HTTP/1.0 has no chunks, and the response to HEAD has no body.
        let may_detach = request.method() == Method::GET && request.version() == Version::HTTP_11;
        let (response, detached) = (respond(request), detached.clone());
        async move {
            let response = response.await?;
            if may_detach && is_event_stream(&response) {
                *detached.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
                // Keeps hyper from starting a response.
                return pending().await;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http.serve_connection(TokioIo::new(socket.clone()), service);
    // Boxed, because the futures around this one would otherwise contain it several times.
    let mut connection = Box::pin(close_gracefully(connection, closing));
    let response = until_detached(connection.as_mut(), &socket, &detached).await?;
    drop(connection);
    Some(DetachedStream::new(socket.detach()?, response, write_timeout))
}

fn is_event_stream(response: &Response) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK
        && headers.get(CONTENT_TYPE).is_some_and(|value| value == "text/event-stream")
        && !headers.contains_key(CONTENT_LENGTH)
}

/// Drives the connection until hyper has written all earlier responses, and returns the detached response. Returns
/// `None` if the connection ends first.
async fn until_detached<C, E>(
    mut connection: Pin<&mut C>,
    socket: &DetachableSocket,
    detached: &DetachedResponse,
) -> Option<Response>
where
    C: Future<Output = Result<(), E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    poll_fn(|context| match connection.as_mut().poll(context) {
        Poll::Ready(result) => {
            if let Err(error) = result {
                debug!("a connection failed: {}", error.into());
            }
            Poll::Ready(None)
        }
        Poll::Pending if socket.is_flushed() => {
            match detached.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(response) => Poll::Ready(Some(response)),
                None => Poll::Pending,
            }
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::response::IntoResponse;
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::server::activity::{Activity, ConnectionTimeouts};

    #[tokio::test]
    async fn a_response_is_detached_only_after_all_earlier_responses_are_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Activity::new(ConnectionTimeouts { idle: Duration::MAX, write: Duration::MAX });
        let mut socket = DetachableSocket::new(GuardedSocket::new(stream, activity));
        let detached = DetachedResponse::new(Mutex::new(Some("a response".into_response())));
        let detach = async |socket: &DetachableSocket| {
            let mut connection = pending::<Result<(), io::Error>>();
            until_detached(Pin::new(&mut connection), socket, &detached).await
        };

        let bytes = vec![0; 1 << 20];
        while socket.write(&bytes).now_or_never().is_some() {}
        assert!(detach(&socket).now_or_never().is_none());
        let mut read = vec![0; 1 << 20];
        let drain = async { while client.read(&mut read).await.unwrap() > 0 {} };
        // Both at once: a read alone may wait for data that is never sent.
        tokio::select! {
            written = socket.write(&bytes) => assert!(written.unwrap() > 0),
            () = drain => unreachable!("the connection stays open"),
        }
        assert!(detach(&socket).now_or_never().flatten().is_some());
    }
}
