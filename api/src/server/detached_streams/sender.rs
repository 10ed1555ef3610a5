//! The answer that is an event stream, written to its socket as HTTP/1.1 has it (RFC 9112).

use std::io;
use std::time::{Duration, SystemTime};

use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING};
use axum::http::response::Parts;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

/// How long the client may take to close the connection after the last event. Closed by us at once, with something from it
/// unread, the connection would be reset, and the last event could be lost on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Whether hyper is not needed for this answer.
pub fn is_event_stream(answer: &Response) -> bool {
    let headers = answer.headers();
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream")
        && !headers.contains_key(CONTENT_LENGTH)
}

/// Sends the answer, and closes the connection behind it. Ends early if the client goes away.
pub async fn send(stream: TcpStream, answer: Response) {
    if let Err(error) = send_all(stream, answer).await {
        debug!("an event stream ended early: {error}");
    }
}

async fn send_all(mut stream: TcpStream, answer: Response) -> io::Result<()> {
    let (head, body) = answer.into_parts();
    let (mut client, mut out) = stream.split();
    out.write_all(&encode_head(head)).await?;
    let mut chunks = body.into_data_stream();
    loop {
        let next = tokio::select! {
            next = chunks.next() => next,
            gone = until_closed(&mut client) => return gone,
        };
        match next {
            // An empty chunk would be the last.
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => out.write_all(&encode_chunk(&data)).await?,
            // Without its last chunk the answer counts as broken off.
            Some(Err(error)) => return Err(io::Error::other(error)),
            None => break,
        }
    }
    out.write_all(b"0\r\n\r\n").await?;
    out.shutdown().await?;
    let _ = timeout(LINGER, until_closed(&mut client)).await;
    Ok(())
}

fn encode_head(mut head: Parts) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.headers.extend(HeaderValue::try_from(date).ok().map(|date| (DATE, date)));
    head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn encode_chunk(data: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Returns once the client has closed its end. What it says meanwhile is of no interest: its request has been answered.
async fn until_closed(client: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut ignored = [0; 64];
    while client.read(&mut ignored).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;
    use tokio::net::TcpListener;

    use super::*;

    fn answer(events: Vec<Result<&'static str, io::Error>>) -> Response {
        let body = Body::from_stream(stream::iter(events));
        Response::builder().header(CONTENT_TYPE, "text/event-stream").body(body).unwrap()
    }

    /// What a client receives that reads to the end, and has said this behind its request.
    async fn receive(answer: Response, said: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let sending = tokio::spawn(send(stream, answer));
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        drop(client);
        sending.await.unwrap();
        received
    }

    #[tokio::test]
    async fn each_event_is_a_chunk_and_an_empty_one_does_not_end_the_answer() {
        let events = vec![Ok("data: 1\n\n"), Ok(""), Ok("data: 22222222222\n\n")];
        let received = receive(answer(events), "GET /next HTTP/1.1\r\n").await;
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for header in
            ["content-type: text/event-stream", "transfer-encoding: chunked", "connection: close", "date: "]
        {
            assert!(head.contains(header), "{head}");
        }
        assert_eq!(body, "9\r\ndata: 1\n\n\r\n13\r\ndata: 22222222222\n\n\r\n0\r\n\r\n");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_has_no_last_chunk() {
        let received = receive(answer(vec![Ok("data: 1\n\n"), Err(io::Error::other("broken"))]), "").await;
        assert!(received.ends_with("9\r\ndata: 1\n\n\r\n"), "{received}");
    }
}
