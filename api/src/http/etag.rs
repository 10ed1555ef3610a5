//! Entity tags (RFC 9110, section 8.8.3).

use std::fmt::{self, Display};

use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Identifies one version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag {
    is_weak: bool,
    /// The text between the quotes.
    opaque: String,
    /// How much of `opaque` a change must not have altered for `If-Match` to hold.
    guarded: usize,
}

/// A tag that a client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTag<'h> {
    is_weak: bool,
    opaque: &'h [u8],
}

/// Makes the tag of content that is not in memory as a whole.
#[derive(Default)]
pub struct ContentDigest(Sha256);

impl ETag {
    /// The weak tag of a version that is sent in several encodings. `version` must differ between all versions of the
    /// resource.
    pub fn of(version: &impl Display) -> Self {
        let opaque = version.to_string();
        Self { is_weak: true, guarded: opaque.len(), opaque }
    }

    /// The strong tag of a representation. It is the same on every instance.
    pub fn strong(representation: &impl Serialize) -> Self {
        let opaque = digest(representation);
        Self { is_weak: false, guarded: opaque.len(), opaque }
    }

    /// The strong tag of JSON: that of [`Self::strong`] for what was serialized.
    pub fn of_content(json: &[u8]) -> Self {
        let mut digest = ContentDigest::default();
        digest.update(json);
        digest.tag()
    }

    /// The strong tag of a representation of which `If-Match` ignores a part: a change of `counters` alone does not
    /// prevent a change of the `details`.
    pub fn strong_with_counters(details: &impl Serialize, counters: &impl Serialize) -> Self {
        let details = digest(details);
        Self { is_weak: false, guarded: details.len(), opaque: format!("{details}.{}", digest(counters)) }
    }

    /// The text between the quotes.
    pub(super) fn opaque(&self) -> &str {
        &self.opaque
    }

    /// Whether `If-None-Match` says that the client has this version.
    pub fn is_known_to(&self, headers: &HeaderMap) -> bool {
        headers.get_all(IF_NONE_MATCH).into_iter().any(|value| {
            value.as_bytes().trim_ascii() == b"*"
                // `If-None-Match` uses the weak comparison.
                || parse_tags(value.as_bytes())
                    .is_some_and(|tags| tags.iter().any(|tag| tag.opaque == self.opaque.as_bytes()))
        })
    }

    /// Whether a client that has read the version `tag`, in whichever encoding, may change this version. Weak tags never
    /// match.
    pub(super) fn permits_change_of(&self, tag: ClientTag) -> bool {
        let (opaque, read) = (self.opaque.as_bytes(), without_coding(tag.opaque));
        !self.is_weak
            && !tag.is_weak
            && read.len() == opaque.len()
            && read[..self.guarded] == opaque[..self.guarded]
    }

    /// `200` with the representation, or `304` if the client has it.
    pub fn respond(self, request: &HeaderMap, representation: impl IntoResponse) -> Response {
        let cache = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if self.is_known_to(request) {
            return (StatusCode::NOT_MODIFIED, cache, self, ()).into_response();
        }
        (cache, self, representation).into_response()
    }
}

impl<'h> ClientTag<'h> {
    /// The text between the quotes.
    pub(super) fn opaque(self) -> &'h [u8] {
        self.opaque
    }
}

/// The opaque text of the tag of a content, given that of one of its encodings. Ready bodies append the name of the
/// encoding, as proxies do that compress what they pass on, such as Caddy.
pub(super) fn without_coding(opaque: &[u8]) -> &[u8] {
    let suffixes: [&[u8]; 3] = [b"-gzip", b"-br", b"-zstd"];
    suffixes.iter().find_map(|suffix| opaque.strip_suffix(*suffix)).unwrap_or(opaque)
}

/// A tag as a header.
pub(super) fn header_value(tag: &str) -> HeaderValue {
    HeaderValue::from_str(tag).expect("a tag is visible ASCII")
}

/// The first 128 bits of the SHA-256 of the JSON.
fn digest(representation: &impl Serialize) -> String {
    digest_of(&serde_json::to_vec(representation).expect("is JSON"))
}

fn digest_of(json: &[u8]) -> String {
    text_of(&Sha256::digest(json))
}

fn text_of(digest: &[u8]) -> String {
    hex::encode(&digest[..16])
}

impl ContentDigest {
    /// Adds the next part of the content.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The strong tag of all parts, as [`ETag::of_content`] makes it of the whole.
    pub fn tag(self) -> ETag {
        let opaque = text_of(&self.0.finalize());
        ETag { is_weak: false, guarded: opaque.len(), opaque }
    }
}

/// Parses a list of tags. `None` if it is malformed. A list may have empty elements.
pub(super) fn parse_tags(value: &[u8]) -> Option<Vec<ClientTag<'_>>> {
    let (mut rest, mut tags) = (value, Vec::new());
    loop {
        rest = rest.trim_ascii_start();
        if let Some((tag, after)) = parse_tag(rest) {
            tags.push(tag);
            rest = after.trim_ascii_start();
        }
        match rest {
            [] => return Some(tags),
            [b',', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// The tag at the beginning of the text, and what follows it. A tag may contain commas.
fn parse_tag(text: &[u8]) -> Option<(ClientTag<'_>, &[u8])> {
    let (is_weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |rest| (true, rest));
    let rest = quoted.strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let opaque = &rest[..end];
    let is_valid = opaque.iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..));
    is_valid.then_some((ClientTag { is_weak, opaque }, &rest[end + 1..]))
}

impl Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.is_weak { "W/" } else { "" }, self.opaque)
    }
}

impl IntoResponseParts for ETag {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
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
        for yes in ["\"7\"", "W/\"7\"", "\"6\", W/\"7\"", "\"a,b\",\"7\"", " * "] {
            assert!(known(yes), "{yes}");
        }
        for no in ["\"6\"", "7", "", "\"77\"", "\"6,7\"", "\"7"] {
            assert!(!known(no), "{no}");
        }
        assert!(!ETag::of(&7).is_known_to(&HeaderMap::new()));
    }

    #[test]
    fn a_list_of_tags_is_parsed_as_rfc_9110_defines() {
        let opaque = |value| {
            let tags = parse_tags(value)?;
            Some(tags.iter().map(|tag| (tag.is_weak, tag.opaque.to_vec())).collect::<Vec<_>>())
        };
        let strong = |opaque: &[u8]| (false, opaque.to_vec());
        assert_eq!(opaque(b"\"a\""), Some(vec![strong(b"a")]));
        assert_eq!(opaque(b"\"\""), Some(vec![strong(b"")]));
        assert_eq!(opaque(b" , \"a,b\" ,, W/\"c\"\t,"), Some(vec![strong(b"a,b"), (true, b"c".to_vec())]));
        assert_eq!(opaque(b"\"\xc3\xa9\""), Some(vec![strong(b"\xc3\xa9")]));
        assert_eq!(opaque(b""), Some(vec![]));
        for malformed in ["a", "\"a", "\"a\"\"b\"", "\"a\" \"b\"", "w/\"a\"", "W/a", "\"a b\"", "*"] {
            assert_eq!(opaque(malformed.as_bytes()), None, "{malformed}");
        }
    }

    #[test]
    fn a_change_of_the_counters_alone_does_not_prevent_a_change_of_the_details() {
        let permits = |current: &ETag, read: &ETag| {
            let read = read.to_string();
            current.permits_change_of(parse_tags(read.as_bytes()).unwrap()[0])
        };
        let read = ETag::strong_with_counters(&"price", &1);
        assert_ne!(ETag::strong_with_counters(&"price", &2), read);
        assert!(permits(&ETag::strong_with_counters(&"price", &2), &read));
        assert!(!permits(&ETag::strong_with_counters(&"other price", &1), &read));
        assert!(permits(&ETag::strong(&"concert"), &ETag::strong(&"concert")));
        assert!(!permits(&ETag::strong(&"concert"), &ETag::strong(&"other concert")));
        assert!(!permits(&ETag::of(&"a"), &ETag::of(&"a")), "weak tags never match");
    }
}
