//! Encodes a response as HTTP/1.1 (RFC 9112): the head, the body in chunks, and the last chunk. All functions are pure.
//!
//! Names and values of headers need no escaping. [`HeaderName`](axum::http::HeaderName) contains token characters only,
//! and [`HeaderValue`] no control character except tab. So neither can contain CR, LF or NUL, which would end a header
//! early.

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

/// Encodes one chunk of the body. The result for no data is empty, because a chunk of size 0 would end the body.
pub fn encode_chunk(data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return Vec::new();
    }
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    bytes
}
