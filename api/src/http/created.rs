//! The response to a request that created a resource.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// `201 Created` with the `Location` of what was created (RFC 9110, section 15.3.2).
pub struct Created<T> {
    /// The path of the resource or, if it has none, of the collection that contains it.
    pub location: String,
    pub body: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(LOCATION, self.location)], Json(self.body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_response_has_the_location_of_the_resource() {
        let response = Created { location: "/ticket-tiers/2".to_owned(), body: "tier" }.into_response();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()[LOCATION], "/ticket-tiers/2");
    }
}
