//! The body of a request that creates something, and the `Idempotency-Key` that distinguishes a retry from a second
//! request.

use axum::extract::{FromRef, FromRequest, OptionalFromRequestParts, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use crate::http::extract::{BodyTimeout, IdempotencyKeyHeader, json_bytes, read_json};
use crate::http::problem::Problem;

/// A JSON body, and the request's key if it has one.
pub struct KeyedBody<T> {
    pub body: T,
    pub key: Option<RequestKey>,
}

/// An idempotency key, and the request that it was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The SHA-256 of the key.
    pub digest: [u8; 32],
    /// The SHA-256 of method, path and body.
    pub request_hash: [u8; 32],
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents what `KeyedBody` reads")]
pub struct CreationKeyParam {
    /// A key that you generate for each request: 1 to 255 printable ASCII characters, bare or quoted. A retry with the
    /// same key and body within 24 hours creates nothing and gets the same response. Use 128 random bits, such as a random
    /// UUID.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        pattern = r#"^("[ !#-~]{1,255}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$"#,
        example = "f0d7cf1e-5f8a-4f55-9a37-1c7f2f9e0b64"
    )]
    key: Option<String>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for KeyedBody<T>
where
    BodyTimeout: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let key =
            <IdempotencyKeyHeader as OptionalFromRequestParts<S>>::from_request_parts(&mut parts, state)
                .await?;
        let target = format!("{} {}", parts.method, parts.uri.path());
        let bytes = json_bytes(Request::from_parts(parts, body), BodyTimeout::from_ref(state)).await?;
        let body = read_json(&bytes)?;
        let key = key.map(|IdempotencyKeyHeader(key)| RequestKey::new(&String::from(key), &target, &bytes));
        Ok(Self { body, key })
    }
}

impl RequestKey {
    fn new(key: &str, target: &str, body: &[u8]) -> Self {
        // Neither white space nor the order of the fields makes another request. serde_json sorts the fields.
        let body = serde_json::from_slice::<Value>(body)
            .map_or_else(|_| body.to_vec(), |value| value.to_string().into_bytes());
        let request_hash = Sha256::new().chain_update(target).chain_update([0]).chain_update(body).finalize();
        Self { digest: Sha256::digest(key).into(), request_hash: request_hash.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_same_if_its_target_and_the_values_of_its_fields_are() {
        let key = |target, body: &str| RequestKey::new("k", target, body.as_bytes());
        let first = key("POST /concerts", r#"{"title":"a","city":"b"}"#);
        assert_eq!(key("POST /concerts", r#" {"city": "b", "title": "a"} "#), first);
        for other in [
            key("POST /ticket-types", r#"{"title":"a","city":"b"}"#),
            key("POST /concerts", r#"{"title":"b","city":"a"}"#),
            key("POST /concerts", r#"{"title":"a"}"#),
        ] {
            assert_eq!(other.digest, first.digest);
            assert_ne!(other.request_hash, first.request_hash);
        }
    }
}
