//! Entity tags (RFC 9110, section 8.8.3).

use std::fmt::Display;

use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};

/// The name of one version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of the version that `version` tells from all others of its resource.
    pub fn of(version: &impl Display) -> Self {
        // Weak: the same version goes out in several encodings.
        Self(format!("W/\"{version}\""))
    }

    /// Whether the client says that it has this version.
    pub fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
        known.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
            // Compared weakly, as the header asks for.
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
    fn a_version_is_known_by_its_tag_in_any_form() {
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
