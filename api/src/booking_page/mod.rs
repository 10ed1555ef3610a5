//! The booking page: plain HTML and JavaScript that uses the api like any other client.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::routing::{MethodRouter, get};

use crate::http::ready_body::{CachePolicy, ReadyBody};
use crate::state::AppState;

/// Only the concerts' pictures may come from other origins, and no inline script or style is executed.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src http: https: data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The JavaScript modules. The entry point is `page.js`.
const MODULES: [(&str, &str); 9] = [
    ("/page/api.js", include_str!("api.js")),
    ("/page/booking.js", include_str!("booking.js")),
    ("/page/dom.js", include_str!("dom.js")),
    ("/page/live.js", include_str!("live.js")),
    ("/page/order.js", include_str!("order.js")),
    ("/page/page.js", include_str!("page.js")),
    ("/page/prices.js", include_str!("prices.js")),
    ("/page/seats.js", include_str!("seats.js")),
    ("/page/format.js", include_str!("format.js")),
];

pub fn routes() -> Router<AppState> {
    let page = Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("index.html")))
        .route("/page/page.css", file("text/css; charset=utf-8", include_str!("page.css")));
    MODULES
        .into_iter()
        .fold(page, |page, (path, module)| page.route(path, file("text/javascript; charset=utf-8", module)))
}

/// A file that is compressed once, when it is first asked for. It is revalidated each time, so that a page never runs with the
/// script of another version.
fn file(content_type: &'static str, content: &'static str) -> MethodRouter<AppState> {
    let body = Arc::new(LazyLock::new(move || ReadyBody::file(content, content_type)));
    get(async move |headers: HeaderMap| {
        let response = body.respond(&headers, CachePolicy::Revalidate, None);
        ([(CONTENT_SECURITY_POLICY, POLICY)], response)
    })
}
