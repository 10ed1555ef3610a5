//! The path of a request, before it is routed.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The only path that ends with a slash: the page there refers to its files by relative paths.
const DOCS: &str = "/docs/";

/// Removes slashes from the end of the path, and all but one from its beginning. The earlier system served `/concerts/`
/// like `/concerts`, and clients that join a base URL and a path send `//concerts`. A redirect would not do: many
/// clients repeat a redirected POST as a GET.
pub fn remove_extra_slashes(uri: &mut Uri) {
    let path = uri.path();
    if !path.ends_with('/') && !path.starts_with("//") || path == "/" || path == DOCS {
        return;
    }
    let path = path.trim_matches('/');
    let path_and_query = match uri.query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok().or(parts.path_and_query);
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_removed_from_the_end_and_the_beginning_of_a_path() {
        for (given, routed) in [
            ("/concerts/", "/concerts"),
            ("/concerts//?page=2", "/concerts?page=2"),
            ("//concerts?next=/a/", "/concerts?next=/a/"),
            ("http://localhost/concerts/?page=2", "http://localhost/concerts?page=2"),
            ("/seats//concert", "/seats//concert"),
            ("/concerts?page=1/", "/concerts?page=1/"),
            ("/", "/"),
            ("//", "/"),
            ("/docs/", "/docs/"),
            ("*", "*"),
        ] {
            let mut uri: Uri = given.parse().unwrap();
            remove_extra_slashes(&mut uri);
            assert_eq!(uri.to_string(), routed.parse::<Uri>().unwrap().to_string());
        }
    }
}
