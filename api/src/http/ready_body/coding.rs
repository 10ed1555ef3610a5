//! The encodings of a ready body.

use std::convert::Infallible;
use std::future::ready;
use std::io::Write;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderValue;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{Request, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;

/// Compresses about twice as fast as zlib's default level, to a few percent more bytes.
const GZIP_LEVEL: Compression = Compression::new(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Brotli,
}

impl Coding {
    /// What the tag of a representation in this encoding has after the tag of the content. See
    /// [`without_coding`](crate::http::etag::without_coding).
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "-gzip",
            Self::Brotli => "-br",
        }
    }

    /// The value of `Content-Encoding`.
    pub fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Brotli => Some(HeaderValue::from_static("br")),
        }
    }

    /// The content in this encoding. If it is compressed, it has no spare capacity.
    pub fn encode(self, content: &Bytes) -> Bytes {
        match self {
            Self::Identity => content.clone(),
            Self::Gzip => Bytes::from(gzip(content).into_boxed_slice()),
            Self::Brotli => Bytes::copy_from_slice(&brotli(content)),
        }
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 8), GZIP_LEVEL);
    let compressed = encoder.write_all(content).and_then(|()| encoder.finish());
    compressed.expect("writing to memory does not fail")
}

/// By the library that compresses the other responses. It chooses a level for compressing while sending, the fourth of eleven.
fn brotli(content: &Bytes) -> Bytes {
    let response = Response::new(Body::from(content.clone()));
    let mut response = Some(response);
    let service =
        service_fn(move |_: Request<Body>| ready(Ok::<_, Infallible>(response.take().unwrap_or_default())));
    let layer =
        CompressionLayer::new().no_gzip().no_deflate().no_zstd().compress_when(|_, _, _: &_, _: &_| true);
    let request = Request::builder().header(ACCEPT_ENCODING, "br").body(Body::empty());
    let request = request.expect("the request is valid");
    let encoding = async {
        let Ok(response) = layer.layer(service).oneshot(request).await;
        to_bytes(Body::new(response.into_body()), usize::MAX).await
    };
    let encoded = encoding.now_or_never().expect("nothing is awaited: all is in memory");
    encoded.expect("reading from memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_body_has_no_spare_capacity() {
        let content = Bytes::from(r#"{"id":1,"section":"vip"},"#.repeat(10_000));
        for coding in [Coding::Gzip, Coding::Brotli] {
            let encoded = coding.encode(&content);
            let length = encoded.len();
            assert_eq!(encoded.try_into_mut().map(|encoded| encoded.capacity()), Ok(length), "{coding:?}");
        }
    }
}
