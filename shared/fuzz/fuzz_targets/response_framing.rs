//! Responses that the api encodes without hyper. From any status, headers and chunks, an independent parser reads back
//! exactly the same status, headers and body, and no bytes are left.

#![no_main]

use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::fuzz_target;

#[path = "../../../api/src/server/detached_streams/framing.rs"]
mod framing;

const OUR_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MAX_HEADERS: usize = 100;
/// A quarter of the names is one of these, because the encoder or a parser treats them specially.
const SPECIAL_NAMES: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];

type Input = (u16, Vec<(u8, Vec<u8>, Vec<u8>)>, Vec<Vec<u8>>);

fuzz_target!(|input: Input| {
    let (status, headers, chunks) = input;
    let Some(head) = head(status, &headers) else { return };
    let (expected_status, expected_headers) = (head.status, expected_headers(&head.headers));

    let mut bytes = framing::encode_head(head, HeaderValue::from_static(OUR_DATE));
    for chunk in &chunks {
        bytes.extend(framing::encode_chunk(chunk));
    }
    bytes.extend_from_slice(framing::LAST_CHUNK);

    let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut parsed);
    let status = response.parse(&bytes).expect("the head is valid");
    let body = &bytes[status.unwrap()..];
    assert_eq!(response.version, Some(1));
    assert_eq!(response.code, Some(expected_status.as_u16()));
    let headers: HeaderMap = response
        .headers
        .iter()
        .map(|header| (HeaderName::try_from(header.name).unwrap(), trimmed(header.value)))
        .collect();
    assert_eq!(response.headers.len(), expected_headers.len());
    assert_eq!(headers, expected_headers);
    assert_eq!(decode_chunks(body), chunks.concat());
});

fn head(status: u16, headers: &[(u8, Vec<u8>, Vec<u8>)]) -> Option<Parts> {
    let (mut head, ()) = Response::new(()).into_parts();
    // Responses with another status have no body.
    head.status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.as_u16() >= 200 && ![204, 304].contains(&status.as_u16()))?;
    // Leaves room for the headers that the encoder adds.
    for (selector, name, value) in headers.iter().take(MAX_HEADERS - 3) {
        let name = match SPECIAL_NAMES.get(usize::from(*selector) % (4 * SPECIAL_NAMES.len())) {
            Some(name) => name.clone(),
            None => HeaderName::from_bytes(name).ok()?,
        };
        head.headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(head)
}

fn expected_headers(headers: &HeaderMap) -> HeaderMap {
    let mut expected: HeaderMap =
        headers.iter().map(|(name, value)| (name.clone(), trimmed(value.as_bytes()))).collect();
    expected.remove(CONTENT_LENGTH);
    expected.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    expected.insert(CONNECTION, HeaderValue::from_static("close"));
    if !headers.contains_key(DATE) {
        expected.insert(DATE, HeaderValue::from_static(OUR_DATE));
    }
    expected
}

/// Whitespace around a value is not part of it (RFC 9110, section 5.5).
fn trimmed(value: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(value.trim_ascii()).unwrap()
}

/// Decodes a whole chunked body (RFC 9112, section 7.1). Panics if it is invalid or anything follows it.
fn decode_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let (start, size) = httparse::parse_chunk_size(bytes).expect("the chunk size is valid").unwrap();
        let size = usize::try_from(size).unwrap();
        let (data, rest) = bytes[start..].split_at(size);
        body.extend_from_slice(data);
        bytes = rest.strip_prefix(b"\r\n").expect("the chunk ends with CRLF");
        if size == 0 {
            assert!(bytes.is_empty(), "{} bytes follow the response", bytes.len());
            return body;
        }
    }
}
