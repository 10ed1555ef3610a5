//! What handlers take from a request, each with a problem document for what is wrong with it.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Query, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use hamro_shared::domain::IdempotencyKey;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::problem::{FieldError, Problem, ProblemCode};

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        expect_json(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(ProblemCode::PayloadTooLarge, "A body has at most 64 KiB here.")
            } else {
                Problem::new(ProblemCode::MalformedRequest, "The body did not arrive whole.")
            }
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| explain::<T>(&bytes))
    }
}

fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    Err(Problem::new(
        ProblemCode::UnsupportedMediaType,
        "Send the body with Content-Type: application/json.",
    ))
}

/// What is wrong with a body that could not be read. It is read a second time for that, with a record of where in the
/// body the reader is, which would be wasted on a good one.
fn explain<T: DeserializeOwned>(bytes: &[u8]) -> Problem {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) if error.inner().classify() == Category::Data => {
            let field = match error.path().to_string() {
                path if path == "." => "body".to_owned(),
                path => path,
            };
            Problem::invalid_field(&field, format!("cannot be read: {}", error.inner()))
        }
        Err(error) => Problem::new(
            ProblemCode::MalformedRequest,
            format!("The body is not JSON: {}.", error.inner()),
        ),
        Ok(_) => Problem::new(
            ProblemCode::MalformedRequest,
            "The body has more behind its JSON.",
        ),
    }
}

/// The one parameter of a path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Id<T> {
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
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|error| Problem::invalid_field("query", error.body_text()))
    }
}

/// The `Idempotency-Key` header.
pub struct IdempotencyKeyHeader(pub IdempotencyKey);

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKeyHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(None);
        };
        let invalid = |detail: &dyn Display| Problem::invalid_field("Idempotency-Key", detail);
        let value = value
            .to_str()
            .map_err(|_| invalid(&"must have printable ASCII characters only"))?;
        IdempotencyKey::parse(value)
            .map(|key| Some(Self(key)))
            .map_err(|error| invalid(&error))
    }
}

/// Collects what is wrong with the fields of a request, to tell all of it at once.
#[derive(Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
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

    /// A text of 1 to `max` characters, trimmed, without control characters.
    pub fn text(&mut self, field: &str, value: Option<String>, max: usize) -> Option<String> {
        self.required(field, value, |text| {
            let text = text.trim().to_owned();
            if text.is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
                return Err(format!(
                    "must have 1 to {max} characters, none of them a control character"
                ));
            }
            Ok(text)
        })
    }

    pub fn wrong(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(FieldError {
            field: field.to_owned(),
            detail: detail.into(),
        });
    }

    /// What was built of the fields, if none of them is wrong.
    pub fn finish<T>(self, built: Option<T>) -> Result<T, Problem> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Problem::invalid(&self.0)),
        }
    }
}
