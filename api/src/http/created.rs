//! The response to a request that created a resource.

use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Serialize;

use crate::http::etag::ETag;

/// `201 Created` with the `Location` of what was created (RFC 9110, section 15.3.2), as it is sent. A retry with the
/// same idempotency key gets the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The path of the resource or, if it has none, of the collection that contains it.
    pub location: String,
    /// The tag of the resource, if it has one.
    pub etag: Option<String>,
    /// JSON.
    pub body: String,
}

impl Created {
    pub fn new(location: String, body: &impl Serialize) -> Self {
        Self { location, etag: None, body: serde_json::to_string(body).expect("is JSON") }
    }

    #[must_use]
    pub fn tagged(self, etag: &ETag) -> Self {
        Self { etag: Some(etag.to_string()), ..self }
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let etag = self.etag.and_then(|etag| HeaderValue::try_from(etag).ok());
        let headers = [(LOCATION, self.location), (CONTENT_TYPE, "application/json".to_owned())];
        (StatusCode::CREATED, headers, AppendHeaders(etag.map(|etag| (ETAG, etag))), self.body)
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_response_has_the_location_and_the_tag_of_the_resource() {
        let etag = ETag::strong(&"tier");
        let response = Created::new("/ticket-tiers/2".to_owned(), &"tier").tagged(&etag).into_response();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()[LOCATION], "/ticket-tiers/2");
        assert_eq!(response.headers()[ETAG], etag.to_string());
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }
}
