//! Entity tags (RFC 9110, section 8.8.3).

use std::fmt::Display;

use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};

/// Identifies one version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of a version. `version` must differ between all versions of the resource.
    pub fn of(version: &impl Display) -> Self {
        // Weak, because one version is sent in several encodings.
        Self(format!("W/\"{version}\""))
    }

    /// Whether `If-None-Match` says that the client has this version.
    pub fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
        known.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
            // `If-None-Match` uses the weak comparison.
            let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
            tag == "*" || opaque(tag) == opaque(&self.0)
        })
    }
}

impl IntoResponseParts for ETag {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        if let Ok(value) = HeaderValue::try_from(self.0) {
            parts.headers_mut().insert(ETAG, value);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_accepts_weak_strong_and_wildcard_tags() {
        let known = |value: &'static str| {
            ETag::of(&7)
                .is_known_to(&HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]))
        };
        for yes in ["\"7\"", "W/\"7\"", "\"6\", W/\"7\"", "*"] {
            assert!(known(yes), "{yes}");
        }
        for no in ["\"6\"", "7", "", "\"77\""] {
            assert!(!known(no), "{no}");
        }
        assert!(!ETag::of(&7).is_known_to(&HeaderMap::new()));
    }
}
