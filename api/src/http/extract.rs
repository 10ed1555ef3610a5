//! What handlers take from a request, each with a problem document for what is wrong with it.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Query, RawPathParams, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use futures_util::StreamExt;
use hamro_shared::domain::IdempotencyKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::timeout;
use utoipa::IntoParams;

use crate::http::problem::{FieldError, Problem, ProblemCode};

/// The largest body that is read: a booking of ten seats has some 300 bytes.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// How much of a larger one is taken and thrown away before it is refused. A client that is still sending when the
/// connection is closed on it gets to see a broken pipe instead of the answer.
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

/// A JSON body that changes what its `id` names. The two are read one after the other, so that a mistake in either is
/// told by its field.
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
            read_json::<WithId<I>>(&bytes)?.id.ok_or_else(|| Problem::invalid_field("id", "is missing"))?;
        Ok(Self { id, body: read_json(&bytes)? })
    }
}

/// The bytes of a body that is said to be JSON.
async fn json_bytes(request: Request) -> Result<Vec<u8>, Problem> {
    expect_json(request.headers())?;
    let mut chunks = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut received = 0;
    let paused = || Problem::new(ProblemCode::MalformedRequest, "The body did not go on for 10 seconds.");
    while let Some(chunk) = timeout(BODY_TIMEOUT, chunks.next()).await.map_err(|_| paused())? {
        let chunk = chunk
            .map_err(|_| Problem::new(ProblemCode::MalformedRequest, "The body did not arrive whole."))?;
        received += chunk.len();
        if received <= BODY_MAX_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if received > DRAIN_MAX_BYTES {
            break;
        }
    }
    if received > BODY_MAX_BYTES {
        return Err(Problem::new(ProblemCode::PayloadTooLarge, "A body has at most 64 KiB here."));
    }
    Ok(bytes)
}

/// The JSON object in these bytes. An array would do for serde, as a list of a struct's fields, and is a mistake.
fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match serde_json::from_slice(bytes) {
        Ok(body) if is_object => Ok(body),
        Ok(_) => Err(not_an_object()),
        Err(_) => Err(explain::<T>(bytes, is_object)),
    }
}

fn not_an_object() -> Problem {
    Problem::invalid_field("body", "must be a JSON object")
}

fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::UnsupportedMediaType, "Send the body with Content-Type: application/json."))
}

/// What is wrong with a body that could not be read. It is read a second time for that, with a record of where in the
/// body the reader is, which would be wasted on a good one.
fn explain<T: DeserializeOwned>(bytes: &[u8], is_object: bool) -> Problem {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) if error.inner().classify() == Category::Data && !is_object => not_an_object(),
        Err(error) if error.inner().classify() == Category::Data => {
            let field = match error.path().to_string() {
                path if path == "." => "body".to_owned(),
                path => path,
            };
            Problem::invalid_field(&field, format!("cannot be read: {}", error.inner()))
        }
        Err(error) => {
            Problem::new(ProblemCode::MalformedRequest, format!("The body is not JSON: {}.", error.inner()))
        }
        Ok(_) => Problem::new(ProblemCode::MalformedRequest, "The body has more behind its JSON."),
    }
}

/// The one parameter of a path.
pub struct PathId<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(ProblemCode::MalformedRequest, "The path is not UTF-8."))?;
        let (name, value) = params.iter().next().ok_or_else(|| Problem::not_found("path"))?;
        value
            .parse()
            .map(Self)
            .map_err(|error: T::Err| Problem::invalid_field(name, format!("is no id: {error}")))
    }
}

/// The parameters of a query.
pub struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|error| Problem::invalid_field("query", error.body_text()))
    }
}

/// The `Idempotency-Key` header.
pub struct IdempotencyKeyHeader(pub IdempotencyKey);

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "says in the document what `IdempotencyKeyHeader` reads")]
pub struct IdempotencyKeyParam {
    /// Up to 255 printable ASCII characters of your choice, bare or in quotes. A retry with the same key books nothing twice:
    /// its ticket shares the outcome of the first.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        pattern = r#"^("[ !#-~]{1,255}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$"#,
        example = "6e1f3a52"
    )]
    key: Option<String>,
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKeyHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(None);
        };
        let invalid = |detail: &dyn Display| Problem::invalid_field("Idempotency-Key", detail);
        let value = value.to_str().map_err(|_| invalid(&"must have printable ASCII characters only"))?;
        IdempotencyKey::from_header(value).map(|key| Some(Self(key))).map_err(|error| invalid(&error))
    }
}

/// Collects what is wrong with the fields of a request, to tell all of it at once.
#[derive(Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// The field's value, if `check` likes it.
    pub fn check<T, E: Display>(&mut self, field: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.wrong(field, error.to_string())).ok()
    }

    /// The field's value by `parse`; missing and `null` are wrong.
    pub fn required<T, U, E: Display>(
        &mut self,
        field: &str,
        value: Option<T>,
        parse: impl FnOnce(T) -> Result<U, E>,
    ) -> Option<U> {
        match value {
            Some(value) => self.check(field, parse(value)),
            None => {
                self.wrong(field, "is missing");
                None
            }
        }
    }

    /// A text of 1 to `max` characters, none of them a control character, without the white space around it.
    pub fn text(&mut self, field: &str, value: Option<String>, max: usize) -> Option<String> {
        self.required(field, value, |text| {
            let trimmed = text.trim();
            if trimmed.is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
                return Err(format!("must have 1 to {max} characters, none of them a control character"));
            }
            Ok(trimmed.to_owned())
        })
    }

    pub fn wrong(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), detail: detail.into() });
    }

    /// What was built of the fields, if none of them is wrong.
    pub fn finish<T>(self, built: Option<T>) -> Result<T, Problem> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Problem::invalid(&self.0)),
        }
    }
}
