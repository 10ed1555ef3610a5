//! Server-sent events, as the HTML Living Standard defines them.

use std::error::Error;

use futures_util::TryStreamExt;
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::header::AsHeaderName;
use hyper::http::response::Parts;
use sse_stream::{Sse, SseStream};

use super::pool::Connection;
use super::response::text;
use super::{Client, RequestError};

/// The name of an event that the server did not name.
const DEFAULT_NAME: &str = "message";

/// A response that is read event by event. Its connection is reused if the stream ends normally.
pub struct EventStream {
    client: Client,
    connection: Option<Connection>,
    head: Parts,
    blocks: SseStream<Incoming>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Empty if the event has none. Unlike in a browser, the id of an earlier event is not repeated.
    pub id: String,
    /// `message` if the server did not name the event.
    pub name: String,
    pub data: String,
}

impl EventStream {
    pub(super) fn new(client: Client, connection: Connection, response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { client, connection: Some(connection), head, blocks: SseStream::new(body) }
    }

    /// The status of the response. Only a 200 has events.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The value of this header, if it is present and visible ASCII.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        text(&self.head.headers, name)
    }

    /// The next event. `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, RequestError> {
        let event = next_event(&mut self.blocks).await.inspect_err(|_| self.connection = None)?;
        if event.is_none()
            && let Some(connection) = self.connection.take()
        {
            self.client.pool().put_back(connection);
        }
        Ok(event)
    }
}

/// Skips blocks without data, which are no events: comments, for example.
async fn next_event<B>(blocks: &mut SseStream<B>) -> Result<Option<Event>, sse_stream::Error>
where
    B: Body<Error: Error + Send + Sync + 'static> + Unpin,
{
    loop {
        let Some(Sse { event, data, id, .. }) = blocks.try_next().await? else { return Ok(None) };
        if let Some(data) = data {
            let name = event.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_NAME.to_owned());
            return Ok(Some(Event { id: id.unwrap_or_default(), name, data }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// The events of a stream that arrives in these chunks.
    async fn read(chunks: &[&[u8]]) -> Result<Vec<Event>, sse_stream::Error> {
        let frame = |chunk: &&[u8]| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(chunk)));
        let body = StreamBody::new(stream::iter(chunks.iter().map(frame).collect::<Vec<_>>()));
        let (mut blocks, mut events) = (SseStream::new(body), Vec::new());
        while let Some(event) = next_event(&mut blocks).await? {
            events.push(event);
        }
        Ok(events)
    }

    fn event(id: &str, name: &str, data: &str) -> Event {
        Event { id: id.to_owned(), name: name.to_owned(), data: data.to_owned() }
    }

    #[tokio::test]
    async fn an_event_has_an_id_a_name_and_data() {
        let status = event("queued", "status", "{}");
        for text in [
            "event: status\nid: queued\ndata: {}\n\n",
            "data:{}\nid:queued\nevent:status\n\n",
            "event: status\r\nid: queued\r\ndata: {}\r\n\r\n",
            "event: status\rid: queued\rdata: {}\r\r",
            "\u{feff}event: status\nid: queued\ndata: {}\n\n",
            ": a comment\nevent: status\nretry: 500\nid: queued\nfuture: field\ndata: {}\n\n",
        ] {
            assert_eq!(read(&[text.as_bytes()]).await.unwrap(), std::slice::from_ref(&status), "{text:?}");
        }
        assert_eq!(read(&[b"data: 1\n\n"]).await.unwrap(), [event("", "message", "1")]);
        assert_eq!(read(&[b"event:\ndata\n\n"]).await.unwrap(), [event("", "message", "")]);
    }

    #[tokio::test]
    async fn the_lines_of_data_are_joined_with_line_feeds() {
        let data = read(&[b"data: one\ndata:  two\ndata\ndata: four: 4\n\n"]).await.unwrap();
        assert_eq!(data, [event("", "message", "one\n two\n\nfour: 4")]);
    }

    #[tokio::test]
    async fn a_block_without_data_is_no_event() {
        for text in
            [": still here\n\n", "retry: 1000\n\n", "id: 7\nevent: status\n\n", "\n\n\n", "data: cut off\n"]
        {
            assert_eq!(read(&[text.as_bytes()]).await.unwrap(), [], "{text:?}");
        }
        let events = read(&[b"retry: 1000\n\n: still here\n\nid: 7\n\ndata: 1\n\n"]).await.unwrap();
        assert_eq!(events, [event("", "message", "1")]);
    }

    #[tokio::test]
    async fn a_stream_has_the_same_events_however_it_is_split_into_chunks() {
        let text =
            ": hello\n\nevent: größe\r\nid: 1\r\ndata: a\r\ndata: b\r\n\r\ndata: \u{1f3ab}\n\ndata: 3\n\n";
        let events =
            [event("1", "größe", "a\nb"), event("", "message", "\u{1f3ab}"), event("", "message", "3")];
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes).await.unwrap(), events);
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            assert_eq!(read(&[first, second]).await.unwrap(), events, "split at {at}");
        }
    }

    #[tokio::test]
    async fn text_that_is_not_utf8_is_an_error() {
        let error = RequestError::from(read(&[b"data: \xff\n\n"]).await.unwrap_err());
        assert_eq!(error.kind(), "invalid-event-stream");
    }
}
