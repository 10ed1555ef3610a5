//! The script and the style sheet. Each is named by its content, so browsers keep it. `page/` has the sources.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};

use crate::http::problem::Problem;
use crate::http::ready_body::{CachePolicy, Encoded, ReadyBody};
use crate::state::AppState;

/// The names of the files, which contain a digest.
pub const SCRIPT: &str = env!("BOOKING_PAGE_SCRIPT");
pub const STYLE: &str = env!("BOOKING_PAGE_STYLE");

macro_rules! built {
    ($file:literal) => {
        Encoded {
            identity: include_bytes!(concat!(env!("OUT_DIR"), "/", $file)),
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".gz")),
            brotli: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".br")),
        }
    };
}

/// `/assets/{file}`
pub fn route() -> MethodRouter<AppState> {
    let script = LazyLock::new(|| ReadyBody::prepared(&built!("page.js"), "text/javascript; charset=utf-8"));
    let style = LazyLock::new(|| ReadyBody::prepared(&built!("style.css"), "text/css; charset=utf-8"));
    let files = Arc::new((script, style));
    get(async move |Path(file): Path<String>, headers: HeaderMap| match file.as_str() {
        SCRIPT => files.0.respond(&headers, CachePolicy::Immutable, None),
        STYLE => files.1.respond(&headers, CachePolicy::Immutable, None),
        _ => of_another_build(&file),
    })
}

/// While instances of two builds stand behind a proxy, the document of one may name a file of the other. The file of this
/// build does the same.
fn of_another_build(file: &str) -> Response {
    let current = match file.rsplit_once('.') {
        Some((name, "js")) if name.starts_with("page-") => SCRIPT,
        Some((name, "css")) if name.starts_with("page-") => STYLE,
        _ => return Problem::not_found("file").into_response(),
    };
    // Relative, because a proxy may serve the page below a path.
    let redirect = Redirect::temporary(current);
    ([(CACHE_CONTROL, "no-store")], redirect).into_response()
}
