//! Extractors: bodies, path and query parameters, headers. Each reports invalid input as a problem document.

use std::error::Error;
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

/// The largest body that is read. A booking of ten seats has about 300 bytes.
const BODY_MAX_BYTES: usize = 64 * 1024;

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

/// The bytes of a body whose content type is JSON.
async fn json_bytes(request: Request) -> Result<Vec<u8>, Problem> {
    expect_json(request.headers())?;
    let mut chunks = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut received = 0;
    let malformed = |detail| Problem::new(ProblemCode::MalformedRequest, detail);
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

/// Parses a JSON object. Serde would also accept an array, as the list of a struct's fields; that is rejected here.
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
    Err(Problem::of(ProblemCode::UnsupportedMediaType))
}

/// Explains why a body could not be parsed. Parses it a second time and tracks the path of each field, which a valid
/// body does not need.
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
        Err(error) => Problem::new(
            ProblemCode::MalformedRequest,
            format!("The body is not valid JSON: {}.", error.inner()),
        ),
        Ok(_) => Problem::new(ProblemCode::MalformedRequest, "Unexpected data after the JSON object."),
    }
}

/// The only parameter of a path.
pub struct PathId<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(ProblemCode::MalformedRequest, "The path is not valid UTF-8."))?;
        let (name, value) = params.iter().next().ok_or_else(|| Problem::not_found("path"))?;
        value
            .parse()
            .map(Self)
            .map_err(|error: T::Err| Problem::invalid_field(name, format!("is not a valid id: {error}")))
    }
}

/// The query parameters.
pub struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(params)| Self(params)).map_err(|error| {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::invalid_field("query", format!("cannot be read: {reason}"))
        })
    }
}

/// The `Idempotency-Key` header.
pub struct IdempotencyKeyHeader(pub IdempotencyKey);

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents what `IdempotencyKeyHeader` reads")]
pub struct IdempotencyKeyParam {
    /// A key that you generate for each booking: 1 to 255 printable ASCII characters, bare or quoted. A retry with the
    /// same key never books twice: its ticket shares the outcome of the first.
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
        let value = value.to_str().map_err(|_| invalid(&"must contain only printable ASCII characters"))?;
        IdempotencyKey::from_header(value).map(|key| Some(Self(key))).map_err(|error| invalid(&error))
    }
}

/// Collects the invalid fields of a request, so that all of them are reported at once.
#[derive(Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// The value of a field that was already checked, or `None` after recording its error.
    pub fn check<T, E: Display>(&mut self, field: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.wrong(field, error.to_string())).ok()
    }

    /// Parses the value of a required field. A missing or `null` value is an error.
    pub fn required<T, U, E: Display>(
        &mut self,
        field: &str,
        value: Option<T>,
        parse: impl FnOnce(T) -> Result<U, E>,
    ) -> Option<U> {
        match value {
            Some(value) => self.check(field, parse(value)),
            None => {
                self.wrong(field, "is required");
                None
            }
        }
    }

    /// A trimmed text of 1 to `max` characters without control characters.
    pub fn text(&mut self, field: &str, value: Option<String>, max: usize) -> Option<String> {
        self.required(field, value, |text| {
            let trimmed = text.trim();
            if trimmed.is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
                return Err(format!("must have 1 to {max} characters and no control characters"));
            }
            Ok(trimmed.to_owned())
        })
    }

    pub fn wrong(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), detail: detail.into() });
    }

    /// The value that was built from the fields, if all of them are valid.
    pub fn finish<T>(self, built: Option<T>) -> Result<T, Problem> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Problem::invalid(&self.0)),
        }
    }
}
