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
use futures_util::{FutureExt, stream};
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
}

/// The content compressed by gzip, without spare capacity.
pub fn gzip(pieces: impl Iterator<Item = Bytes>) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), GZIP_LEVEL);
    for piece in pieces {
        encoder.write_all(&piece).expect("writing to memory does not fail");
    }
    let compressed = encoder.finish().expect("writing to memory does not fail");
    Bytes::from(compressed.into_boxed_slice())
}

/// The content compressed by Brotli, without spare capacity.
///
/// By the library that compresses the other responses. It chooses a level for compressing while sending, the fourth of eleven.
pub fn brotli(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Bytes {
    let response = Response::new(Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>))));
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
    Bytes::copy_from_slice(&encoded.expect("reading from memory does not fail"))
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::*;

    #[test]
    fn an_encoded_body_has_no_spare_capacity_and_does_not_depend_on_the_pieces() {
        let content = Bytes::from(r#"{"id":1,"section":"vip"},"#.repeat(10_000));
        let pieces = || {
            let content = content.clone();
            (0..content.len()).step_by(700).map(move |at| content.slice(at..content.len().min(at + 700)))
        };
        for (whole, encoded) in
            [(gzip(once(content.clone())), gzip(pieces())), (brotli(once(content.clone())), brotli(pieces()))]
        {
            assert_eq!(whole, encoded);
            let length = encoded.len();
            assert_eq!(encoded.try_into_mut().map(|encoded| encoded.capacity()), Ok(length));
        }
    }
}
