use std::io::Read;

use axum::body::{HttpBody, to_bytes};
use axum::http::header::{IF_MATCH, RANGE};
use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::http::if_match::IfMatch;

const CACHED: CachePolicy = CachePolicy::Catalogue;

/// JSON that is shorter in every encoding, shortest with Brotli.
fn content() -> Vec<u8> {
    let seats = (0..400).map(|seat| format!("{{\"id\":{seat},\"section\":\"front\",\"isBooked\":false}}"));
    format!("[{}]", seats.collect::<Vec<_>>().join(",")).into_bytes()
}

fn compressed_only() -> ReadyBody {
    ReadyBody::compressed_only(|| {
        let content = content();
        let pieces: Vec<Bytes> = content.chunks(999).map(Bytes::copy_from_slice).collect();
        pieces.into_iter()
    })
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn respond(body: &ReadyBody, pairs: &[(HeaderName, &str)]) -> Response {
    body.respond(&headers(pairs), CACHED, None)
}

fn header<'r>(response: &'r Response, name: &HeaderName) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn bytes(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

fn decode(coding: Option<&str>, encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let read = match coding {
        None => { encoded }.read_to_end(&mut decoded),
        Some("gzip") => GzDecoder::new(encoded).read_to_end(&mut decoded),
        Some(_) => brotli_decompressor::Decompressor::new(encoded, 4_096).read_to_end(&mut decoded),
    };
    read.unwrap();
    decoded
}

#[test]
fn the_encoding_with_the_largest_weight_is_chosen_and_the_shortest_of_several() {
    let body = ReadyBody::json(content());
    for (accepted, chosen) in [
        ("", None),
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip, br;q=0.9", Some("gzip")),
        ("gzip;q=0.5, br;q=0.5", Some("br")),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.4", Some("gzip")),
        ("gzip;q=0, br;q=0", None),
        ("identity;q=0, gzip", Some("gzip")),
        ("identity;q=0, *", Some("br")),
        ("*", Some("br")),
        ("*;q=0, gzip", Some("gzip")),
        ("zstd", None),
        ("deflate, gzip;q=nonsense", None),
    ] {
        let response = respond(&body, &[(ACCEPT_ENCODING, accepted)]);
        assert_eq!(response.status(), StatusCode::OK, "{accepted}");
        assert_eq!(header(&response, &CONTENT_ENCODING), chosen, "{accepted}");
        assert_eq!(header(&response, &VARY), Some("accept-encoding"), "{accepted}");
    }
    assert_eq!(header(&respond(&body, &[]), &CONTENT_ENCODING), None);
    let several = [(ACCEPT_ENCODING, "gzip"), (ACCEPT_ENCODING, "br")];
    assert_eq!(header(&respond(&body, &several), &CONTENT_ENCODING), Some("br"));
}

#[test]
fn a_client_that_accepts_nothing_gets_406() {
    let body = ReadyBody::json(content());
    for accepted in ["identity;q=0", "*;q=0", "identity;q=0, gzip;q=0, br;q=0", "zstd, identity;q=0"] {
        let response = respond(&body, &[(ACCEPT_ENCODING, accepted)]);
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE, "{accepted}");
        assert_eq!(header(&response, &VARY), Some("accept-encoding"));
        assert_eq!(header(&response, &ETAG), None);
    }
}

#[test]
fn a_body_that_compression_does_not_shorten_is_compressed_only_if_it_must_be() {
    let body = ReadyBody::json(b"[]".to_vec());
    assert_eq!(header(&respond(&body, &[(ACCEPT_ENCODING, "gzip, br")]), &CONTENT_ENCODING), None);
    let forced = respond(&body, &[(ACCEPT_ENCODING, "gzip, identity;q=0")]);
    assert_eq!(header(&forced, &CONTENT_ENCODING), Some("gzip"));
}

#[tokio::test]
async fn every_encoding_has_the_same_content_its_length_and_a_strong_tag_of_its_own() {
    for body in [ReadyBody::json(content()), compressed_only()] {
        let mut tags = Vec::new();
        for accepted in ["identity", "gzip", "br"] {
            let response = respond(&body, &[(ACCEPT_ENCODING, accepted), (RANGE, "bytes=0-1")]);
            assert_eq!(response.status(), StatusCode::OK);
            let coding = header(&response, &CONTENT_ENCODING).map(str::to_owned);
            let length: usize = header(&response, &CONTENT_LENGTH).unwrap().parse().unwrap();
            tags.push(header(&response, &ETAG).unwrap().to_owned());
            assert_eq!(response.body().size_hint().exact(), Some(length as u64));
            assert_eq!(header(&response, &CACHE_CONTROL), Some("no-cache"));
            let sent = bytes(response).await;
            assert_eq!(sent.len(), length);
            assert_eq!(decode(coding.as_deref(), &sent), content());
        }
        let content_tag = ETag::of_content(&content()).to_string();
        assert_eq!(tags[0], content_tag);
        let opaque = content_tag.trim_matches('"');
        assert_eq!(tags[1..], [format!("\"{opaque}-gzip\""), format!("\"{opaque}-br\"")]);
    }
}

#[test]
fn a_body_that_is_kept_compressed_takes_less_memory_than_its_content() {
    assert!(compressed_only().bytes() < content().len() / 2);
    assert!(ReadyBody::json(content()).bytes() > content().len());
}

#[test]
fn a_client_that_has_the_content_in_any_encoding_gets_304_with_the_tag_that_it_has() {
    let body = ReadyBody::json(content());
    let opaque = ETag::of_content(&content()).opaque().to_owned();
    let tag = |suffix: &str| format!("\"{opaque}{suffix}\"");
    let list = format!("\"other\", W/{}", tag("-br"));
    for (sent, returned) in [
        ("*".to_owned(), tag("-gzip")),
        (" * ".to_owned(), tag("-gzip")),
        (tag("-gzip"), tag("-gzip")),
        (tag(""), tag("")),
        (tag("-br"), tag("-br")),
        (format!("W/{}", tag("")), tag("")),
        (list, tag("-br")),
        (format!("{}, {}", tag("-br"), tag("-gzip")), tag("-gzip")),
        // A proxy has compressed it.
        (tag("-zstd"), tag("-gzip")),
    ] {
        let response = respond(&body, &[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, &sent)]);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{sent}");
        assert_eq!(header(&response, &ETAG), Some(returned.as_str()), "{sent}");
        assert_eq!(header(&response, &CACHE_CONTROL), Some("no-cache"));
        assert!(response.headers().contains_key(CDN_CACHE_CONTROL));
        assert_eq!(header(&response, &VARY), Some("accept-encoding"));
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
    for sent in ["\"other\"", "", "gzip", &opaque, &tag("-GZIP"), &tag("-gzip-br"), &tag("-deflate")] {
        let response = respond(&body, &[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, sent)]);
        assert_eq!(response.status(), StatusCode::OK, "{sent}");
    }
    let several = [(IF_NONE_MATCH, "\"other\""), (IF_NONE_MATCH, &tag(""))];
    assert_eq!(respond(&body, &several).status(), StatusCode::NOT_MODIFIED);
    // A malformed list names nothing.
    let malformed = format!("{} {}", tag(""), tag(""));
    assert_eq!(respond(&body, &[(IF_NONE_MATCH, &malformed)]).status(), StatusCode::OK);
}

#[test]
fn if_match_accepts_the_tag_of_every_encoding() {
    let tag = ETag::strong_with_counters(&"price", &1);
    let body = ReadyBody::tagged(content(), JSON, &tag);
    let sold = ETag::strong_with_counters(&"price", &2);
    let changed = ETag::strong_with_counters(&"other price", &1);
    for accepted in ["identity", "gzip", "br"] {
        let response = respond(&body, &[(ACCEPT_ENCODING, accepted)]);
        let request = headers(&[(IF_MATCH, header(&response, &ETAG).unwrap())]);
        let if_match = IfMatch::parse(&request).unwrap().unwrap();
        assert!(if_match.check(&tag).is_ok() && if_match.check(&sold).is_ok(), "{accepted}");
        assert!(if_match.check(&changed).is_err(), "{accepted}");
    }
}

#[test]
fn the_policy_says_how_long_browsers_and_shared_caches_may_use_a_response() {
    let body = ReadyBody::json(content());
    let of = |policy| {
        let response = body.respond(&HeaderMap::new(), policy, Some(Duration::from_millis(2_900)));
        assert_eq!(header(&response, &AGE), Some("2"));
        [CACHE_CONTROL, CDN_CACHE_CONTROL].map(|name| header(&response, &name).map(str::to_owned))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(CachePolicy::Catalogue), [text("no-cache"), text("max-age=1, stale-while-revalidate=1")]);
    assert_eq!(of(CachePolicy::Revalidate), [text("no-cache"), None]);
    assert_eq!(of(CachePolicy::Immutable), [text("public, max-age=31536000, immutable"), None]);
}

proptest! {
    /// Whatever a client sends, it gets an encoding that it accepts, or 406 only if it has excluded identity.
    #[test]
    fn no_encoding_is_sent_that_the_client_excludes(
        elements in prop::collection::vec((0..5_usize, 0..=10_u16), 0..5),
    ) {
        let names = ["identity", "gzip", "br", "zstd", "*"];
        let text: Vec<String> = elements
            .iter()
            .map(|(name, tenths)| format!("{};q={}.{}", names[*name], tenths / 10, tenths % 10))
            .collect();
        let response = respond(&ReadyBody::json(b"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]".to_vec()), &[
            (ACCEPT_ENCODING, &text.join(", ")),
        ]);
        let weight = |name: &str| {
            let of = |name: &str| elements.iter().filter(|(index, _)| names[*index] == name).map(|(_, q)| *q).max();
            of(name).or(of("*"))
        };
        if response.status() == StatusCode::NOT_ACCEPTABLE {
            prop_assert_eq!(weight("identity"), Some(0));
        } else {
            let chosen = header(&response, &CONTENT_ENCODING);
            prop_assert!(chosen.is_none_or(|coding| weight(coding).is_some_and(|weight| weight > 0)));
            prop_assert!(chosen.is_some() || weight("identity") != Some(0));
        }
    }
}
