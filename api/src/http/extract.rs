//! Extractors: bodies, path and query parameters, headers. Each reports invalid input as a problem document.

mod body;
mod content_encoding;
mod input;
mod input_error;
mod json;
mod path_param;

use std::fmt::Display;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Query};
use axum::http::request::Parts;
use hamro_shared::domain::{IdempotencyKey, visible_text};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

pub(super) use self::body::json_bytes;
pub use self::body::{BodyTimeout, JsonBody, JsonBodyWithId};
use self::input::Input;
pub(super) use self::json::read_json;
pub use self::path_param::{PathId, PathIds, PathParam};
use crate::http::problem::{FieldError, Problem};

/// The query parameters.
pub struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(params) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::invalid_field("query", "must be pairs such as page=2&limit=10"))?;
        let params = params.into_iter().map(|(name, value)| (name, Input::Text(value)));
        let parsed = Input::Object(params.collect()).parse();
        parsed.map(Self).map_err(|errors| Problem::invalid(&errors))
    }
}

/// The `Idempotency-Key` header.
pub struct IdempotencyKeyHeader(pub IdempotencyKey);

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents what `IdempotencyKeyHeader` reads")]
pub struct IdempotencyKeyParam {
    /// A key that you generate for each booking: 1 to 255 printable ASCII characters, bare or quoted. A retry with the
    /// same key never books twice: its ticket shares the outcome of the first. Use 128 random bits, such as a random UUID:
    /// whoever guesses the key and the e-mail address can use the key up.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        pattern = r#"^("[ !#-~]{1,255}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$"#,
        example = "f0d7cf1e-5f8a-4f55-9a37-1c7f2f9e0b64"
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

    /// A trimmed text of one line and 1 to `max` characters, some of them visible.
    pub fn text(&mut self, field: &str, value: Option<String>, max: usize) -> Option<String> {
        self.required(field, value, |text| {
            let trimmed = text.trim();
            if trimmed.is_empty() || text.chars().count() > max {
                return Err(format!("must have 1 to {max} characters"));
            }
            visible_text::check_line(&text).map_err(|error| error.to_string())?;
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
