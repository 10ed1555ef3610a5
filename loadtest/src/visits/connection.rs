//! One HTTP/1.1 connection, on which requests that were encoded in advance are sent one at a time.
//!
//! The load generator opens ten thousand pages per second with it, beside the system under test. A client library would
//! take more CPU time for a request than the target takes to respond from memory.

use std::io::{self, ErrorKind};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::encoding::Encoding;

/// The free space of the receive buffer before each read.
const READ_BYTES: usize = 32 * 1024;
/// More header fields than a response of the target has.
const HEADERS_MAX: usize = 48;

pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    /// Whether a response was received on this connection.
    pub is_used: bool,
}

/// What is needed of the head of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub encoding: Option<Encoding>,
    pub tag: Option<Box<str>>,
    /// Whether a browser uses its copy without asking.
    pub is_immutable: bool,
    body: BodyLength,
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Bytes(u64),
    Chunked,
    /// The body ends with the connection.
    UntilClosed,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new(), is_used: false }
    }

    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Reads the head of the response.
    pub async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some((head, bytes)) = parse_head(&self.buffer)? {
                self.buffer.advance(bytes);
                self.is_used = true;
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    /// Reads the whole body, passing its parts to `each`. Returns its number of bytes.
    pub async fn body(&mut self, head: &Head, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
        match head.body {
            BodyLength::Bytes(bytes) => self.pass_on(bytes, &mut each).await.map(|()| bytes),
            BodyLength::Chunked => self.chunks(&mut each).await,
            BodyLength::UntilClosed => self.rest(&mut each).await,
        }
    }

    /// Whether another request may be sent after the body of this response.
    pub fn is_reusable(head: &Head) -> bool {
        !head.closes
    }

    async fn chunks(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut received = 0;
        loop {
            let size = self.chunk_size().await?;
            self.pass_on(size, each).await?;
            received += size;
            // The line that ends the chunk. The target sends no trailers, so it also ends the body.
            self.pass_on(2, &mut |_| {}).await?;
            if size == 0 {
                return Ok(received);
            }
        }
    }

    async fn chunk_size(&mut self) -> io::Result<u64> {
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((bytes, size))) => {
                    self.buffer.advance(bytes);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) => self.fill().await?,
                Err(_) => return Err(invalid("invalid-chunk")),
            }
        }
    }

    async fn rest(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut received = 0;
        loop {
            each(&self.buffer);
            received += self.buffer.len() as u64;
            self.buffer.clear();
            match self.fill().await {
                Ok(()) => {}
                Err(end) if end.kind() == ErrorKind::UnexpectedEof => return Ok(received),
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes this many bytes to `each`.
    async fn pass_on(&mut self, bytes: u64, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let part = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            each(&self.buffer[..part]);
            self.buffer.advance(part);
            left -= part as u64;
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until something can be read, for a stream whose content nobody needs.
    pub async fn discard(&mut self, scratch: &std::sync::Mutex<Box<[u8]>>) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            let mut scratch = scratch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match self.stream.try_read(&mut scratch) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes that were received with the head, and not read yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Frees the receive buffer of a stream that stays open.
    pub fn forget_buffered(&mut self) {
        self.buffer = BytesMut::new();
    }
}

/// The head and its length, or `None` if a part is missing.
fn parse_head(received: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let bytes = match response.parse(received) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid("invalid-head")),
    };
    let status = response.code.unwrap_or_default();
    let is_empty = matches!(status, 100..=199 | 204 | 304);
    let mut head = Head {
        status,
        encoding: None,
        tag: None,
        is_immutable: false,
        body: if is_empty { BodyLength::Bytes(0) } else { BodyLength::UntilClosed },
        closes: false,
    };
    for field in response.headers.iter() {
        let value = str::from_utf8(field.value).unwrap_or_default().trim();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") && !is_empty {
            head.body = BodyLength::Bytes(value.parse().map_err(|_| invalid("invalid-length"))?);
        } else if is("transfer-encoding") && !is_empty {
            head.body = BodyLength::Chunked;
        } else if is("content-encoding") {
            head.encoding = Encoding::named(value).map_err(invalid)?;
        } else if is("etag") {
            head.tag = Some(value.into());
        } else if is("cache-control") {
            head.is_immutable = value.contains("immutable");
        } else if is("connection") {
            head.closes = value.eq_ignore_ascii_case("close");
        }
    }
    head.closes |= head.body == BodyLength::UntilClosed;
    Ok(Some((head, bytes)))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A connection on which these parts arrive, and then its end.
    async fn receiving(parts: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            for part in parts {
                peer.write_all(part.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Connection::new(stream)
    }

    async fn read(connection: &mut Connection) -> io::Result<(Head, String)> {
        let (head, mut text) = (connection.head().await?, Vec::new());
        let bytes = connection.body(&head, |part| text.extend_from_slice(part)).await?;
        assert_eq!(bytes, text.len() as u64);
        Ok((head, String::from_utf8(text).unwrap()))
    }

    #[tokio::test]
    async fn responses_are_read_one_after_the_other_whatever_ends_their_bodies() {
        let mut connection = receiving(&[
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Len",
            "gth: 5\r\n\r\nfirstHTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: br\r\n\r\n3\r\nsec\r",
            "\n3\r\nond\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=31536000, immutable\r\n\r\nthe ",
            "last",
        ])
        .await;
        let (head, body) = read(&mut connection).await.unwrap();
        assert_eq!((head.status, head.tag.as_deref(), body.as_str()), (200, Some("\"a\""), "first"));
        assert!(Connection::is_reusable(&head) && connection.is_used && !head.is_immutable);
        let (head, body) = read(&mut connection).await.unwrap();
        assert_eq!((head.status, body.as_str()), (304, ""));
        let (head, body) = read(&mut connection).await.unwrap();
        assert_eq!((head.encoding, body.as_str()), (Some(Encoding::Brotli), "second"));
        let (head, body) = read(&mut connection).await.unwrap();
        assert_eq!((head.is_immutable, body.as_str()), (true, "the last"));
        assert!(!Connection::is_reusable(&head));
        assert_eq!(read(&mut connection).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_body_that_is_cut_off_and_an_invalid_response_are_errors() {
        for (parts, kind) in [
            (&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"][..], ErrorKind::UnexpectedEof),
            (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"], ErrorKind::InvalidData),
            (&["HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"], ErrorKind::InvalidData),
            (&["HTTP/1.1 200 OK\r\nContent-Encoding: lzma\r\n\r\n"], ErrorKind::InvalidData),
            (&["SSH-2.0-OpenSSH_9.2\r\n"], ErrorKind::InvalidData),
        ] {
            let error = read(&mut receiving(parts).await).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{parts:?}");
        }
    }
}
