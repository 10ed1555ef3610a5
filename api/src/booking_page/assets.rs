//! The script and the style sheet. Each is named by its content, so browsers keep it. `page/` has the sources.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
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
        _ => match kind_of_another_build(&file) {
            Some(Kind::Script) => files.0.respond(&headers, CachePolicy::NoStore, None),
            Some(Kind::Style) => files.1.respond(&headers, CachePolicy::NoStore, None),
            None => Problem::not_found("file").into_response(),
        },
    })
}

enum Kind {
    Script,
    Style,
}

/// What the name is in another build. While instances of two builds stand behind a proxy, the document of one may name a file
/// of the other. The file of this build does the same, but nobody may keep it under that name.
///
/// A redirect to the name of this build would not do: it may meet the other build again and again.
fn kind_of_another_build(file: &str) -> Option<Kind> {
    match file.strip_prefix("page-")?.rsplit_once('.')? {
        (_, "js") => Some(Kind::Script),
        (_, "css") => Some(Kind::Style),
        _ => None,
    }
}
