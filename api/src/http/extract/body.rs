//! JSON bodies: reads, decodes and parses them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use futures_util::StreamExt;
use hamro_shared::config::Env;
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

/// How long a client may take to send a body, from its first byte to its last (`BODY_TIMEOUT`). A client that sends a
/// byte now and then would otherwise keep its request open.
#[derive(Clone, Copy, Debug)]
pub struct BodyTimeout(Duration);

impl BodyTimeout {
    const DEFAULT: Duration = Duration::from_secs(15);
    const MAX: Duration = Duration::from_mins(1);

    pub fn read(env: &mut Env) -> Option<Self> {
        let limit = env
            .variable(
                "BODY_TIMEOUT",
                "How long a client may take to send the body of a request, in all. At most a minute.",
                "a duration such as 15s",
            )
            .or_default("15s")?;
        if limit == Duration::ZERO || limit > Self::MAX {
            env.record_error(
                "BODY_TIMEOUT is zero or longer than a minute: it should be a duration such as 15s",
            );
            return None;
        }
        Some(Self(limit))
    }

    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for BodyTimeout {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

/// A JSON body.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T>
where
    BodyTimeout: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read_json(&json_bytes(request, BodyTimeout::from_ref(state)).await?).map(Self)
    }
}

/// A JSON body of an update: an `id`, and the other fields. The two are parsed separately, so that an error in either
/// names its field.
pub struct JsonBodyWithId<I, T> {
    pub id: I,
    pub body: T,
}

impl<S: Send + Sync, I: DeserializeOwned, T: DeserializeOwned> FromRequest<S> for JsonBodyWithId<I, T>
where
    BodyTimeout: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct WithId<I> {
            id: Option<I>,
        }
        let bytes = json_bytes(request, BodyTimeout::from_ref(state)).await?;
        let id =
            read_json::<WithId<I>>(&bytes)?.id.ok_or_else(|| Problem::invalid_field("id", "is required"))?;
        Ok(Self { id, body: read_json(&bytes)? })
    }
}

/// The decoded bytes of a body whose content type is JSON. All handlers read bodies with this function.
pub(in crate::http) async fn json_bytes(request: Request, limit: BodyTimeout) -> Result<Vec<u8>, Problem> {
    expect_json(request.headers())?;
    let encoding = content_encoding(request.headers())?;
    let bytes = read(request.into_body(), limit).await?;
    let Some(encoding) = encoding else { return Ok(bytes) };
    encoding.decode(&bytes, BODY_MAX_BYTES).map_err(|error| match error {
        DecodeError::TooLarge => {
            Problem::new(ProblemCode::PayloadTooLarge, "The decoded body must not be larger than 64 KiB.")
        }
        DecodeError::Corrupt => malformed("The body is not encoded as its Content-Encoding says."),
    })
}

async fn read(body: Body, limit: BodyTimeout) -> Result<Vec<u8>, Problem> {
    let mut received = Received::default();
    // If the whole body is there already, no timer is started.
    let is_complete = timeout(limit.0, received.receive(body)).await;
    if received.length > BODY_MAX_BYTES {
        return Err(Problem::of(ProblemCode::PayloadTooLarge));
    }
    is_complete.unwrap_or_else(|_| Err(Problem::of(ProblemCode::RequestTimeout)))?;
    Ok(received.bytes)
}

/// What has been received of a body.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// Counts discarded bytes too.
    length: usize,
}

impl Received {
    async fn receive(&mut self, body: Body) -> Result<(), Problem> {
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| malformed("The body is incomplete."))?;
            self.length += chunk.len();
            if self.length <= BODY_MAX_BYTES {
                self.bytes.extend_from_slice(&chunk);
            } else if self.length > DRAIN_MAX_BYTES {
                break;
            }
        }
        Ok(())
    }
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(ProblemCode::MalformedRequest, detail)
}

fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = essence.trim().to_ascii_lowercase();
    if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
        return Err(Problem::of(ProblemCode::UnsupportedMediaType));
    }
    if parameters.split(';').filter_map(charset).any(|charset| !is_supported_charset(charset)) {
        let detail = "The charset must be utf-8, or missing. Send JSON in UTF-8.";
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail));
    }
    Ok(())
}

/// The value of the parameter, if it is a `charset`.
fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

/// JSON is always UTF-8 (RFC 8259, section 8.1). Some clients name the charset in which their platform writes ASCII,
/// which is the same in UTF-8; any other byte they send is found when the body is decoded.
fn is_supported_charset(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
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
