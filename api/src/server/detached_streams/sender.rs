//! Writes a detached response to its socket.
//!
//! A client may close its sending side and still read. When it does, a comment is sent: if it has closed the connection
//! instead, its kernel responds to that with a reset, which ends the stream.

use std::io;
use std::time::{Duration, SystemTime};

use axum::http::HeaderValue;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;
use tracing::debug;

use super::framing::{LAST_CHUNK, encode_chunk, encode_head};
use crate::server::pace::time_for;

/// How long the client may take to close the connection after the last event. If we closed it first while data from the
/// client is unread, the kernel would reset the connection, and the client could lose the last event.
const LINGER: Duration = Duration::from_secs(2);

/// How much a client may send during the stream. Requests that it has pipelined fit; nothing that it sends is used.
const UNWANTED_MAX: usize = 64 * 1024;

/// A comment, which clients ignore.
const PROBE: &[u8] = b":\n\n";

/// An event stream that is still to be sent, and its connection.
pub struct DetachedStream {
    socket: TcpStream,
    response: Response,
    write_timeout: Duration,
}

impl DetachedStream {
    pub fn new(socket: TcpStream, response: Response, write_timeout: Duration) -> Self {
        Self { socket, response, write_timeout }
    }

    /// Sends the stream and closes the connection. Stops early if the client has closed it or does not read.
    pub async fn send(self) {
        if let Err(error) = send(self.socket, self.response, self.write_timeout).await {
            debug!("an event stream ended early: {error}");
        }
    }
}

async fn send(mut socket: TcpStream, response: Response, write_timeout: Duration) -> io::Result<()> {
    let (head, body) = response.into_parts();
    let (mut reader, writer) = socket.split();
    let mut writer = Writer { half: writer, write_timeout };
    let now = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
        .expect("an HTTP date is valid in a header value");
    writer.write(&encode_head(head, now)).await?;
    let mut chunks = body.into_data_stream();
    let mut is_half_closed = false;
    let mut unwanted = Unwanted::default();
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            changed = until_closed_or_reset(&mut reader, &mut unwanted, is_half_closed) => {
                changed?;
                is_half_closed = true;
                writer.write(&encode_chunk(PROBE)).await?;
                continue;
            }
        };
        match chunk {
            Some(Ok(data)) => writer.write(&encode_chunk(&data)).await?,
            // The client sees an incomplete response, because the last chunk is missing.
            Some(Err(error)) => return Err(io::Error::other(error)),
            None => break,
        }
    }
    writer.write(LAST_CHUNK).await?;
    writer.half.shutdown().await?;
    let _ = timeout(LINGER, until_closed(&mut reader, &mut unwanted)).await;
    Ok(())
}

/// Writes to clients that may not read.
struct Writer<'a> {
    half: WriteHalf<'a>,
    write_timeout: Duration,
}

impl Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(self.write_timeout + time_for(bytes.len()), self.half.write_all(bytes)).await?
    }
}

/// What the client has sent since the stream started. It is discarded.
#[derive(Default)]
struct Unwanted {
    bytes: usize,
}

impl Unwanted {
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes > UNWANTED_MAX {
            return Err(io::Error::other("the client sends data during the stream"));
        }
        Ok(())
    }
}

/// Resolves once the client has closed its side. After that, resolves with an error once the connection is reset.
async fn until_closed_or_reset(
    reader: &mut ReadHalf<'_>,
    unwanted: &mut Unwanted,
    is_half_closed: bool,
) -> io::Result<()> {
    if is_half_closed {
        reader.ready(Interest::ERROR).await?;
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    until_closed(reader, unwanted).await
}

/// Resolves once the client has closed its side. Discards what the client sends, such as further requests.
async fn until_closed(reader: &mut ReadHalf<'_>, unwanted: &mut Unwanted) -> io::Result<()> {
    let mut discarded = [0; 64];
    loop {
        match reader.read(&mut discarded).await? {
            0 => return Ok(()),
            read => unwanted.count(read)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::CONTENT_TYPE;
    use futures_util::stream;
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

    fn response(events: Vec<Result<&'static str, io::Error>>) -> Response {
        let body = Body::from_stream(stream::iter(events));
        Response::builder().header(CONTENT_TYPE, "text/event-stream").body(body).unwrap()
    }

    /// Returns what a client reads until the end. It sends `extra` after its request.
    async fn receive(response: Response, extra: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(extra.as_bytes()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let sending = tokio::spawn(DetachedStream::new(socket, response, WRITE_TIMEOUT).send());
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        drop(client);
        sending.await.unwrap();
        received
    }

    #[tokio::test]
    async fn each_event_is_one_chunk_and_an_empty_event_does_not_end_the_body() {
        let events = vec![Ok("data: 1\n\n"), Ok(""), Ok("data: 22222222222\n\n")];
        let received = receive(response(events), "GET /next HTTP/1.1\r\n").await;
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for header in
            ["content-type: text/event-stream", "transfer-encoding: chunked", "connection: close", "date: "]
        {
            assert!(head.contains(header), "{head}");
        }
        assert_eq!(body, "9\r\ndata: 1\n\n\r\n13\r\ndata: 22222222222\n\n\r\n0\r\n\r\n");
    }

    /// A client and a stream whose event is sent once the returned sender sends it.
    async fn connect() -> (TcpStream, oneshot::Sender<&'static str>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let (send, event) = oneshot::channel();
        let events = stream::once(async { event.await.map_err(io::Error::other) });
        let response = Response::new(Body::from_stream(events));
        (client, send, tokio::spawn(DetachedStream::new(socket, response, WRITE_TIMEOUT).send()))
    }

    #[tokio::test]
    async fn a_client_that_has_closed_its_sending_side_receives_later_events() {
        let (mut client, send, sending) = connect().await;
        client.shutdown().await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"3\r\n:\n\n\r\n") {
            assert_ne!(client.read_buf(&mut received).await.unwrap(), 0);
        }
        send.send("data: 1\n\n").unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "9\r\ndata: 1\n\n\r\n0\r\n\r\n");
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn the_stream_of_a_client_that_has_closed_its_connection_ends_without_an_event() {
        let (mut client, _send, sending) = connect().await;
        // The head, so that only what follows can reveal that the client is gone.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(client.read_buf(&mut head).await.unwrap(), 0);
        }
        drop(client);
        timeout(Duration::from_secs(30), sending).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_stream_of_a_client_that_keeps_sending_ends() {
        let (mut client, _send, sending) = connect().await;
        let data = [b'a'; 1024];
        while client.write_all(&data).await.is_ok() {}
        timeout(Duration::from_secs(30), sending).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_stream_of_a_client_that_does_not_read_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let events = stream::repeat_with(|| Ok::<_, io::Error>("a".repeat(1000)));
        let response = Response::new(Body::from_stream(events));
        let stream = DetachedStream::new(socket, response, Duration::from_millis(100));
        timeout(Duration::from_secs(30), stream.send()).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_fails_has_no_last_chunk() {
        let received =
            receive(response(vec![Ok("data: 1\n\n"), Err(io::Error::other("test error"))]), "").await;
        assert!(received.ends_with("9\r\ndata: 1\n\n\r\n"), "{received}");
    }
}
