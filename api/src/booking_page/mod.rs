//! The booking page: plain HTML and JavaScript that uses the api like any other client.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

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
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("index.html"))))
        .route("/page/page.css", get(async || file("text/css; charset=utf-8", include_str!("page.css"))));
    MODULES.into_iter().fold(page, |page, (path, module)| {
        page.route(path, get(async move || file("text/javascript; charset=utf-8", module)))
    })
}

fn file(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    // `no-cache`: revalidated each time, so that a page never runs with the script of another version.
    let headers =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, content)
}
