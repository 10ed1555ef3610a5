//! Encodes a response as HTTP/1.1 (RFC 9112): the head, the body in chunks, and the last chunk. All functions are pure.
//!
//! Names and values of headers need no escaping. [`HeaderName`](axum::http::HeaderName) contains token characters only,
//! and [`HeaderValue`] no control character except tab. So neither can contain CR, LF or NUL, which would end a header
//! early.
//!
//! `shared/fuzz/fuzz_targets/response_framing.rs` includes this file by its path.

use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use axum::http::response::Parts;

/// Ends the body. A body without it counts as incomplete.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Encodes the head of a response whose body follows in chunks, and after which the connection is closed. `date` is
/// used unless the response has a date. The status must allow a body: it is not 1xx, 204 or 304 (RFC 9110, section
/// 6.4.1).
pub fn encode_head(mut head: Parts, date: HeaderValue) -> Vec<u8> {
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    head.headers.entry(DATE).or_insert(date);
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

/// Encodes one chunk of the body. Empty data yields no bytes, because a chunk of size 0 would end the body.
pub fn encode_chunk(data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return Vec::new();
    }
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::header::CONTENT_TYPE;
    use axum::http::{HeaderMap, HeaderName, StatusCode};
    use axum::response::Response;
    use http_body_util::{BodyExt, Empty};
    use hyper::Request;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Bytes after the response, which the client must not take for a part of it.
    const TRAILING: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\n\r\n";

    fn encode(head: Parts, chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = encode_head(head, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        for chunk in chunks {
            bytes.extend(encode_chunk(chunk));
        }
        bytes.extend_from_slice(LAST_CHUNK);
        bytes
    }

    fn head(status: StatusCode, headers: &[(HeaderName, HeaderValue)]) -> Parts {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        for (name, value) in headers {
            head.headers.append(name, value.clone());
        }
        head
    }

    /// The headers that a client must receive. Whitespace around a value is not part of it (RFC 9110, section 5.5).
    fn expected_headers(headers: &HeaderMap) -> HeaderMap {
        let is_framing = |name: &HeaderName| [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name);
        let mut expected: HeaderMap = headers
            .iter()
            .filter(|(name, _)| !is_framing(name))
            .map(|(name, value)| {
                let is_space = |byte: &u8| [b' ', b'\t'].contains(byte);
                let bytes = value.as_bytes();
                let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
                let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
                (name.clone(), HeaderValue::from_bytes(&bytes[start..end]).unwrap())
            })
            .collect();
        expected.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        expected.insert(CONNECTION, HeaderValue::from_static("close"));
        if !headers.contains_key(DATE) {
            expected.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        }
        expected
    }

    /// Has hyper's client read a response. Returns the response and the bytes after it.
    async fn read_with_hyper(response: &[u8]) -> (StatusCode, HeaderMap, Bytes, Vec<u8>) {
        let (client, mut server) = duplex(response.len() + 1024);
        let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
        let exchange = async {
            let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            drop(sender);
            (head, body)
        };
        let serve = async {
            server.read_buf(&mut Vec::new()).await.unwrap();
            server.write_all(response).await.unwrap();
            drop(server);
        };
        let ((head, body), connection, ()) = tokio::join!(exchange, connection.without_shutdown(), serve);
        let connection = connection.unwrap();
        let mut rest = connection.read_buf.to_vec();
        connection.io.into_inner().read_to_end(&mut rest).await.unwrap();
        (head.status, head.headers, body, rest)
    }

    fn status() -> impl Strategy<Value = StatusCode> {
        let with_body = (200_u16..=999).prop_filter("has no body", |status| ![204, 304].contains(status));
        prop_oneof![Just(StatusCode::OK), with_body.prop_map(|status| StatusCode::from_u16(status).unwrap())]
    }

    fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
        let known = vec![CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, DATE];
        let name = prop_oneof![
            proptest::sample::select(known),
            "[a-z0-9!#$%&'*+.^_`|~-]{1,20}".prop_map(|name| HeaderName::try_from(name).unwrap()),
        ];
        let byte = prop_oneof![8 => b' '..=b'~', 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
        (name, vec(byte, 0..40).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap()))
    }

    proptest! {
        #[test]
        fn a_client_reads_back_exactly_the_encoded_response(
            status in status(),
            headers in vec(header(), 0..20),
            chunks in vec(vec(any::<u8>(), 0..2_000), 0..8),
        ) {
            let head = head(status, &headers);
            let expected = expected_headers(&head.headers);
            let mut bytes = encode(head, &chunks);
            bytes.extend_from_slice(TRAILING);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read_status, read_headers, body, rest) = runtime.block_on(read_with_hyper(&bytes));
            prop_assert_eq!(read_status, status);
            prop_assert_eq!(read_headers, expected);
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!(rest, TRAILING);
        }
    }

    #[test]
    fn header_values_that_would_break_the_framing_cannot_be_constructed() {
        for control in (0..b' ').filter(|byte| *byte != b'\t').chain([0x7f]) {
            assert!(HeaderValue::from_bytes(&[b'a', control, b'b']).is_err(), "{control}");
            assert!(HeaderName::from_bytes(&[b'a', control, b'b']).is_err(), "{control}");
        }
    }
}
