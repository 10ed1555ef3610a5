//! The `If-Match` header (RFC 9110, section 13.1.1): change a resource only if nobody else has changed it since the
//! client read it.

use axum::extract::OptionalFromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use utoipa::IntoParams;

use crate::http::etag::{ETag, parse_tags};
use crate::http::problem::{Problem, ProblemCode};

/// The tags of the versions of a resource that the client has read.
///
/// Whether the current version is one of them must be checked while its row is locked, in the transaction that changes
/// it.
#[derive(Clone, Debug)]
pub struct IfMatch(Vec<u8>);

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents what `IfMatch` reads")]
pub struct IfMatchParam {
    /// The `ETag` of the version that you have read. If the resource has been changed since, the response is `412` and
    /// nothing is changed.
    #[param(
        rename = "If-Match",
        nullable = false,
        pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#,
        example = "\"0f8fad5bd9cb469fa16570867728950e\""
    )]
    tags: Option<String>,
}

impl IfMatch {
    /// `None` if the client changes whatever version there is: without the header, or with `*`.
    pub(super) fn parse(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let values: Vec<&[u8]> =
            headers.get_all(IF_MATCH).into_iter().map(|value| value.as_bytes().trim_ascii()).collect();
        if values.is_empty() || values == [b"*"] {
            return Ok(None);
        }
        // Several headers are one list.
        let list = values.join(&b',');
        match parse_tags(&list) {
            Some(tags) if !tags.is_empty() => Ok(Some(Self(list))),
            _ => Err(Problem::new(
                ProblemCode::MalformedRequest,
                "If-Match must be * or a list of entity tags in quotes, as ETag returns them.",
            )),
        }
    }

    /// An error unless the client has read the `current` version.
    pub fn check(&self, current: &ETag) -> Result<(), Problem> {
        let tags = parse_tags(&self.0).unwrap_or_default();
        if tags.iter().any(|tag| current.permits_change_of(*tag)) {
            Ok(())
        } else {
            Err(Problem::of(ProblemCode::PreconditionFailed))
        }
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Self::parse(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// Whether the headers permit the change of a resource with this tag. An error if they are malformed.
    fn permits(current: &ETag, values: &[&str]) -> Result<bool, Problem> {
        let values = values.iter().map(|value| (IF_MATCH, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        Ok(IfMatch::parse(&headers)?.is_none_or(|if_match| if_match.check(current).is_ok()))
    }

    #[test]
    fn if_match_uses_the_strong_comparison() {
        let current = ETag::strong(&"current");
        let tag = current.to_string();
        let (weak, listed) = (format!("W/{tag}"), format!("\"other\" , {tag}"));
        for yes in [vec![], vec!["*"], vec![tag.as_str()], vec![listed.as_str()], vec!["\"other\"", &tag]] {
            assert!(permits(&current, &yes).unwrap(), "{yes:?}");
        }
        for no in ["\"other\"", &weak, "\"\""] {
            assert!(!permits(&current, &[no]).unwrap(), "{no}");
        }
    }

    #[test]
    fn a_malformed_if_match_is_an_error() {
        for malformed in
            [vec![""], vec![","], vec!["current"], vec!["*", "\"a\""], vec!["\"a\", *"], vec!["*, *"]]
        {
            assert!(permits(&ETag::strong(&"current"), &malformed).is_err(), "{malformed:?}");
        }
    }
}
