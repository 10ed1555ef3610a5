//! The heads of all requests and responses, before and after the router. It refuses a request whose head is ambiguous,
//! and sets the headers that every response has, whichever layer creates it: also those to `OPTIONS` and to refused
//! requests.

use axum::body::HttpBody;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use axum::response::{IntoResponse, Response};

use super::host;
use super::request_id::{REQUEST_ID, request_id};
use crate::http::problem::{Problem, ProblemCode};

/// The response to a request whose head is invalid. Such a request must not reach the router.
pub fn refusal<B>(request: &Request<B>) -> Option<Response> {
    let problem = check(request).err()?;
    Some(([(REQUEST_ID, request_id(request.headers()))], problem).into_response())
}

fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    check_transfer_coding(request.headers())?;
    host::check(request.version(), request.uri(), request.headers())
        .map_err(|detail| Problem::new(ProblemCode::MalformedRequest, detail))
}

/// The only supported transfer coding is `chunked` (RFC 9112, section 6.1). hyper has decoded it. It passes on a body
/// with further codings undecoded.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_supported = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    is_supported.then_some(()).ok_or_else(|| Problem::of(ProblemCode::UnsupportedTransferCoding))
}

/// Sets the headers that every response has. `version` is the client's.
pub fn complete(version: Version, response: &mut Response) {
    let headers = response.headers_mut();
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    if must_close(version, response) {
        announce_close(version, response);
    }
}

/// Announces that the connection is closed after this response. HTTP/2 has no such header.
pub fn announce_close(version: Version, response: &mut Response) {
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if version < Version::HTTP_11 {
        // hyper would append `keep-alive` to a response of HTTP/1.1.
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Whether the connection is closed after the response.
fn must_close(version: Version, response: &Response) -> bool {
    // HTTP/1.0 has no chunks: the end of the connection ends a body without a length.
    let has_length =
        response.headers().contains_key(CONTENT_LENGTH) || response.body().size_hint().exact().is_some();
    let is_ended_by_close = version < Version::HTTP_11 && !has_length;
    // The client may still be sending the body.
    let is_unread = matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::NOT_IMPLEMENTED);
    is_ended_by_close || is_unread
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Body;
    use axum::http::HeaderName;
    use axum::routing::get;
    use futures_util::stream;
    use tower::ServiceExt;

    use super::*;

    async fn respond(request: Request<Body>) -> Response {
        let events = || Body::from_stream(stream::iter([Ok::<_, Infallible>("data: 1\n\n")]));
        let router = Router::new()
            .route("/ok", get(async || [(REFERRER_POLICY, "origin")]))
            .route("/slow", get(async || StatusCode::REQUEST_TIMEOUT))
            .route("/events", get(async move || events()));
        let version = request.version();
        let mut response = match refusal(&request) {
            Some(response) => response,
            None => router.oneshot(request).await.unwrap(),
        };
        complete(version, &mut response);
        response
    }

    async fn send(version: Version, path: &str, header: (HeaderName, &str)) -> Response {
        let request = Request::get(path).version(version).header("host", "x").header(header.0, header.1);
        respond(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn standard_headers_are_set_unless_the_handler_has_set_them() {
        for (path, host, status) in [("/ok", "x", 200), ("/nowhere", "x", 404), ("/ok", "a b", 400)] {
            let request = Request::get(path).header("host", host).header(REQUEST_ID, "mine");
            let response = respond(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), status, "{path}");
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header(X_CONTENT_TYPE_OPTIONS), Some("nosniff"), "{path}");
            let referrer_policy = if status == 200 { "origin" } else { "no-referrer" };
            assert_eq!(header(REFERRER_POLICY), Some(referrer_policy), "{path}");
            if status == 400 {
                assert_eq!(header(REQUEST_ID), Some("mine"));
            }
        }
    }

    #[tokio::test]
    async fn any_transfer_coding_but_chunked_is_not_implemented() {
        for (coding, status) in [
            ("chunked", 200),
            ("Chunked", 200),
            ("gzip, chunked", 501),
            ("chunked, chunked", 501),
            ("identity, chunked", 501),
            (", chunked", 501),
            ("gzip", 501),
            ("", 501),
        ] {
            let response = send(Version::HTTP_11, "/ok", (TRANSFER_ENCODING, coding)).await;
            assert_eq!(response.status(), status, "{coding}");
            assert_eq!(response.headers().contains_key(CONNECTION), status == 501, "{coding}");
        }
        let request = Request::get("/ok").header("host", "x");
        let request = request.header(TRANSFER_ENCODING, "gzip").header(TRANSFER_ENCODING, "chunked");
        let response = respond(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 501);
    }

    #[tokio::test]
    async fn a_response_that_the_connection_ends_says_so() {
        use Version as V;
        for (version, path, expected) in [
            (V::HTTP_10, "/events", true),
            (V::HTTP_10, "/ok", false),
            (V::HTTP_11, "/events", false),
            (V::HTTP_10, "/slow", true),
            (V::HTTP_11, "/slow", true),
            (V::HTTP_2, "/slow", false),
            (V::HTTP_2, "/events", false),
        ] {
            let response = send(version, path, (CONNECTION, "keep-alive")).await;
            let connection = response.headers().get(CONNECTION);
            assert_eq!(connection.is_some_and(|value| value == "close"), expected, "{version:?} {path}");
            let is_old = expected && version == V::HTTP_10;
            assert_eq!(response.version() == V::HTTP_10, is_old, "{version:?} {path}");
        }
    }
}
