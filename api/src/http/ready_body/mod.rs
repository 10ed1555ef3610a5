//! A body that is made once and sent to many clients: in each encoding, with the headers that say which one it is.
//!
//! What differs between requests is chosen here: the encoding (RFC 9110, section 12.5.3), and whether the client has the
//! content already (section 13.1.2). Ranges are not supported, so `Range` is ignored (section 14.2). A `HEAD` is answered
//! like a `GET`; the router removes the body.

mod accepted;
mod coding;
mod inflating;

use std::iter::once;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use self::accepted::Accepted;
use self::coding::Coding;
use self::inflating::Inflating;
use crate::http::etag::{self, ContentDigest, ETag, parse_tags};
use crate::http::problem::{Problem, ProblemCode};

/// RFC 9213. Shared caches that know it ignore `Cache-Control`.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What a body takes in addition to its bytes: headers and allocations.
const OVERHEAD: usize = 768;

pub const JSON: &str = "application/json";

/// Headers of a response.
const HEADERS_MAX: usize = 16;

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents what `ReadyBody` reads")]
pub struct IfNoneMatchParam {
    /// The `ETag`s of the versions that the client already has, in any encoding.
    #[param(rename = "If-None-Match", nullable = false, example = "\"0f8fad5bd9cb469fa16570867728950e\"")]
    tags: Option<String>,
}

/// A body in its encodings. Cheap to clone.
#[derive(Clone)]
pub struct ReadyBody(Arc<Representations>);

/// The same content in several encodings.
struct Representations {
    /// The opaque text of the tag of the content, without an encoding.
    opaque: String,
    content_type: HeaderValue,
    /// Identity, gzip and Brotli.
    all: [Representation; 3],
}

/// The content in one encoding, with prepared headers.
struct Representation {
    coding: Coding,
    length: usize,
    content_length: HeaderValue,
    etag: HeaderValue,
    /// `None` if it is decompressed while it is sent.
    stored: Option<Bytes>,
}

/// A file in its encodings.
pub struct Encoded {
    pub identity: &'static [u8],
    pub gzip: &'static [u8],
    pub brotli: &'static [u8],
}

/// What a body is made of.
struct Content {
    /// Without compression.
    length: usize,
    /// `None` if only what is compressed is kept.
    stored: Option<Bytes>,
    gzip: Bytes,
    brotli: Bytes,
}

/// How long clients and caches may use a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// Browsers ask each time; shared caches that know RFC 9213 ask once a second.
    Catalogue,
    /// Everybody asks each time.
    Revalidate,
    /// What the URL names never changes.
    Immutable,
    /// Nobody keeps it.
    NoStore,
}

impl ReadyBody {
    /// JSON in all encodings. Its tag is that of [`ETag::strong`] for the same JSON.
    pub fn json(json: Vec<u8>) -> Self {
        let tag = ETag::of_content(&json);
        Self::tagged(json, JSON, &tag)
    }

    /// Text of this type in all encodings, with the strong tag of its content.
    pub fn tagged(content: Vec<u8>, content_type: &'static str, tag: &ETag) -> Self {
        // What is kept has no spare capacity.
        let stored = Bytes::from(content.into_boxed_slice());
        let (gzip, brotli) = (coding::gzip(once(stored.clone())), coding::brotli(once(stored.clone())));
        Self::of(Content { length: stored.len(), stored: Some(stored), gzip, brotli }, content_type, tag)
    }

    /// A file of this type that was encoded when the program was built.
    pub fn prepared(file: &Encoded, content_type: &'static str) -> Self {
        let [stored, gzip, brotli] = [file.identity, file.gzip, file.brotli].map(Bytes::from_static);
        let tag = ETag::of_content(file.identity);
        Self::of(Content { length: stored.len(), stored: Some(stored), gzip, brotli }, content_type, &tag)
    }

    /// Large JSON, which is kept compressed. A client that accepts no compression gets what is decompressed while it is sent.
    /// The content is requested twice, in pieces, so that it need not be in memory as a whole.
    pub fn compressed_only<P>(pieces: impl Fn() -> P) -> Self
    where
        P: Iterator<Item = Bytes> + Send + 'static,
    {
        let (mut length, mut digest) = (0, ContentDigest::default());
        let gzip = coding::gzip(pieces().inspect(|piece| {
            length += piece.len();
            digest.update(piece);
        }));
        let content = Content { length, stored: None, gzip, brotli: coding::brotli(pieces()) };
        Self::of(content, JSON, &digest.tag())
    }

    /// Large text of this type, which is kept compressed, with the strong tag of its content.
    pub fn tagged_compressed_only(content: Bytes, content_type: &'static str, tag: &ETag) -> Self {
        let length = content.len();
        let (gzip, brotli) = (coding::gzip(once(content.clone())), coding::brotli(once(content)));
        Self::of(Content { length, stored: None, gzip, brotli }, content_type, tag)
    }

    fn of(content: Content, content_type: &'static str, tag: &ETag) -> Self {
        let opaque = tag.opaque();
        let represent = |coding: Coding, length: usize, stored: Option<Bytes>| Representation {
            coding,
            length,
            content_length: HeaderValue::from(length),
            etag: etag::header_value(&format!("\"{opaque}{}\"", coding.suffix())),
            stored,
        };
        let Content { length, stored, gzip, brotli } = content;
        Self(Arc::new(Representations {
            opaque: opaque.to_owned(),
            content_type: HeaderValue::from_static(content_type),
            all: [
                represent(Coding::Identity, length, stored),
                represent(Coding::Gzip, gzip.len(), Some(gzip)),
                represent(Coding::Brotli, brotli.len(), Some(brotli)),
            ],
        }))
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        let stored = self.0.all.iter().filter_map(|representation| representation.stored.as_ref());
        stored.map(Bytes::len).sum::<usize>() + OVERHEAD
    }

    /// Whether its tag is this one.
    pub fn has_tag(&self, tag: &ETag) -> bool {
        self.0.opaque == tag.opaque()
    }

    /// `200` with the body, `304` if the client has its content, or `406` if the client accepts none of its encodings.
    /// `age` is the time since it was known to be current, if that is worth telling.
    pub fn respond(&self, request: &HeaderMap, policy: CachePolicy, age: Option<Duration>) -> Response {
        let Some(selected) = self.select(request) else { return not_acceptable() };
        let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
        policy.set(&mut headers);
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
        headers.insert(CONTENT_LENGTH, selected.content_length.clone());
        let (status, body) = if let Some(tag) = self.known_tag(request, selected) {
            headers.insert(ETAG, tag.clone());
            (StatusCode::NOT_MODIFIED, Body::empty())
        } else {
            headers.insert(ETAG, selected.etag.clone());
            headers.insert(CONTENT_TYPE, self.0.content_type.clone());
            if let Some(coding) = selected.coding.header() {
                headers.insert(CONTENT_ENCODING, coding);
            }
            (StatusCode::OK, self.body(selected))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn body(&self, selected: &Representation) -> Body {
        match &selected.stored {
            Some(bytes) => Body::from(bytes.clone()),
            None => {
                let [identity, gzip, _] = &self.0.all;
                Body::new(Inflating::new(gzip.stored.clone().unwrap_or_default(), identity.length))
            }
        }
    }

    /// The representation that the client prefers, the shortest of several. One that compression does not make shorter is
    /// sent uncompressed, if the client accepts that.
    fn select(&self, request: &HeaderMap) -> Option<&Representation> {
        let [identity, ..] = &self.0.all;
        let accepted = Accepted::of(request);
        let candidates = self.0.all.iter().filter(|candidate| {
            let is_useful = candidate.coding == Coding::Identity
                || candidate.length < identity.length
                || !accepted.accepts(Coding::Identity);
            is_useful && accepted.accepts(candidate.coding)
        });
        candidates
            .max_by_key(|candidate| (accepted.weight(candidate.coding), std::cmp::Reverse(candidate.length)))
    }

    /// The tag for `304`, if the client has the content, in whichever encoding: a cache finds what it has stored by the tag
    /// (RFC 9111, section 4.3.4), so it is one that the client has sent.
    fn known_tag<'r>(&'r self, request: &HeaderMap, selected: &'r Representation) -> Option<&'r HeaderValue> {
        let mut known = None;
        for value in request.get_all(IF_NONE_MATCH) {
            if value == selected.etag || value.as_bytes().trim_ascii() == b"*" {
                return Some(&selected.etag);
            }
            // `If-None-Match` uses the weak comparison.
            for tag in parse_tags(value.as_bytes()).unwrap_or_default() {
                if tag.opaque() == selected.opaque_tag() {
                    return Some(&selected.etag);
                }
                if etag::without_coding(tag.opaque()) == self.0.opaque.as_bytes() {
                    let same = self.0.all.iter().find(|other| other.opaque_tag() == tag.opaque());
                    known = known.or(Some(&same.unwrap_or(selected).etag));
                }
            }
        }
        known
    }
}

impl Representation {
    /// The tag without its quotes.
    fn opaque_tag(&self) -> &[u8] {
        let tag = self.etag.as_bytes();
        tag.get(1..tag.len().saturating_sub(1)).unwrap_or_default()
    }
}

impl CachePolicy {
    fn set(self, headers: &mut HeaderMap) {
        let cache_control = match self {
            Self::Catalogue | Self::Revalidate => "no-cache",
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::NoStore => "no-store",
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
        if self == Self::Catalogue {
            let shared = HeaderValue::from_static("max-age=1, stale-while-revalidate=1");
            headers.insert(CDN_CACHE_CONTROL, shared);
        }
    }
}

fn not_acceptable() -> Response {
    let problem = Problem::of(ProblemCode::NotAcceptable);
    problem.with_header(VARY, HeaderValue::from(ACCEPT_ENCODING)).into_response()
}

#[cfg(test)]
mod tests;
