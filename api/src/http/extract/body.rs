//! JSON bodies: reads, decodes and parses them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::content_encoding::{ContentEncoding, DecodeError, SUPPORTED};
use super::json::read_json;
use crate::http::problem::{Problem, ProblemCode};

/// The largest body that is read, and the largest that a compressed body may decode to. A booking of ten seats has about
/// 300 bytes.
pub(super) const BODY_MAX_BYTES: usize = 64 * 1024;

/// How much of a larger body is read and discarded before the request is rejected. If the connection closes while the
/// client is still sending, the client sees a broken pipe instead of the response.
const DRAIN_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How long a client may pause while it sends a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read_json(&json_bytes(request).await?).map(Self)
    }
}

/// A JSON body of an update: an `id`, and the other fields. The two are parsed separately, so that an error in either
/// names its field.
pub struct JsonBodyWithId<I, T> {
    pub id: I,
    pub body: T,
}

impl<S: Send + Sync, I: DeserializeOwned, T: DeserializeOwned> FromRequest<S> for JsonBodyWithId<I, T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct WithId<I> {
            id: Option<I>,
        }
        let bytes = json_bytes(request).await?;
        let id =
            read_json::<WithId<I>>(&bytes)?.id.ok_or_else(|| Problem::invalid_field("id", "is required"))?;
        Ok(Self { id, body: read_json(&bytes)? })
    }
}

/// The decoded bytes of a body whose content type is JSON.
pub(in crate::http) async fn json_bytes(request: Request) -> Result<Vec<u8>, Problem> {
    expect_json(request.headers())?;
    let encoding = content_encoding(request.headers())?;
    let bytes = read(request.into_body()).await?;
    let Some(encoding) = encoding else { return Ok(bytes) };
    encoding.decode(&bytes, BODY_MAX_BYTES).map_err(|error| match error {
        DecodeError::TooLarge => {
            Problem::new(ProblemCode::PayloadTooLarge, "The decoded body must not be larger than 64 KiB.")
        }
        DecodeError::Corrupt => malformed("The body is not encoded as its Content-Encoding says."),
    })
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut received = 0;
    while let Some(chunk) = timeout(BODY_TIMEOUT, chunks.next())
        .await
        .map_err(|_| malformed("No request data was received for 10 seconds."))?
    {
        let chunk = chunk.map_err(|_| malformed("The body is incomplete."))?;
        received += chunk.len();
        if received <= BODY_MAX_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if received > DRAIN_MAX_BYTES {
            break;
        }
    }
    if received > BODY_MAX_BYTES {
        return Err(Problem::of(ProblemCode::PayloadTooLarge));
    }
    Ok(bytes)
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(ProblemCode::MalformedRequest, detail)
}

/// JSON is always UTF-8 (RFC 8259, section 8.1), so a `charset` is ignored.
fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    Err(Problem::of(ProblemCode::UnsupportedMediaType))
}

/// The encoding of the body, if it has one.
fn content_encoding(headers: &HeaderMap) -> Result<Option<ContentEncoding>, Problem> {
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let mut names = values
        .flat_map(|value| value.to_str().unwrap_or("(not ASCII)").split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != "identity");
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => ContentEncoding::named(&name).map(Some).ok_or_else(unsupported_encoding),
        (Some(_), Some(_)) => Err(unsupported_encoding()),
    }
}

/// `Accept-Encoding` lists what is supported (RFC 9110, section 15.5.16).
fn unsupported_encoding() -> Problem {
    let detail = format!("Content-Encoding must be one of {SUPPORTED}, or missing.");
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static(SUPPORTED))
}
