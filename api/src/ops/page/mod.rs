//! The live view at `/ops`: static files that show what `/ops/state` reports. They contain no data, so they need no token.
//!
//! `uplot/` is [uPlot](https://github.com/leeoniya/uPlot) 1.6.32, unchanged as published on npm, with its licence.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::state::AppState;

/// Nothing comes from or goes to other origins, and no inline script or style is executed.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page. The entry point of the script is `main.js`.
const FILES: [(&str, &str, &str); 22] = [
    ("/ops", HTML, include_str!("index.html")),
    ("/ops/page/ops.css", CSS, include_str!("ops.css")),
    ("/ops/page/uPlot.min.css", CSS, include_str!("uplot/uPlot.min.css")),
    ("/ops/page/uPlot.iife.min.js", JAVASCRIPT, include_str!("uplot/uPlot.iife.min.js")),
    ("/ops/page/LICENSE", "text/plain; charset=utf-8", include_str!("uplot/LICENSE")),
    ("/ops/page/chart_list.js", JAVASCRIPT, include_str!("chart_list.js")),
    ("/ops/page/charts.js", JAVASCRIPT, include_str!("charts.js")),
    ("/ops/page/checks.js", JAVASCRIPT, include_str!("checks.js")),
    ("/ops/page/concert_controls.js", JAVASCRIPT, include_str!("concert_controls.js")),
    ("/ops/page/control_changes.js", JAVASCRIPT, include_str!("control_changes.js")),
    ("/ops/page/controls.js", JAVASCRIPT, include_str!("controls.js")),
    ("/ops/page/dead_letters.js", JAVASCRIPT, include_str!("dead_letters.js")),
    ("/ops/page/dialog.js", JAVASCRIPT, include_str!("dialog.js")),
    ("/ops/page/dom.js", JAVASCRIPT, include_str!("dom.js")),
    ("/ops/page/format.js", JAVASCRIPT, include_str!("format.js")),
    ("/ops/page/history.js", JAVASCRIPT, include_str!("history.js")),
    ("/ops/page/main.js", JAVASCRIPT, include_str!("main.js")),
    ("/ops/page/numbers.js", JAVASCRIPT, include_str!("numbers.js")),
    ("/ops/page/polling.js", JAVASCRIPT, include_str!("polling.js")),
    ("/ops/page/processes.js", JAVASCRIPT, include_str!("processes.js")),
    ("/ops/page/session.js", JAVASCRIPT, include_str!("session.js")),
    ("/ops/page/verdict.js", JAVASCRIPT, include_str!("verdict.js")),
];

pub fn routes() -> Router<AppState> {
    FILES.into_iter().fold(Router::new(), |page, (path, content_type, content)| {
        page.route(path, get(async move || file(content_type, content)))
    })
}

fn file(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    // `no-cache`: revalidated each time, so that a page never runs with the script of another version.
    let headers =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, content)
}
