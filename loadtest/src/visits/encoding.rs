//! The encodings of responses.

use std::io::{self, Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

/// What a browser accepts, over HTTPS.
pub const ACCEPTED: &str = "gzip, deflate, br, zstd";

const BROTLI_BUFFER_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    /// The encoding with this name. `None` if it is `identity`.
    pub fn named(name: &str) -> Result<Option<Self>, &'static str> {
        Ok(match name {
            "" | "identity" => None,
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => return Err("unknown-encoding"),
        })
    }

    /// The number of bytes after decompression.
    pub fn decoded_bytes(self, body: &[u8]) -> io::Result<u64> {
        match self {
            Self::Gzip => count(MultiGzDecoder::new(body)),
            Self::Deflate => count(ZlibDecoder::new(body)),
            Self::Brotli => count(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES)),
            Self::Zstd => count(zstd::stream::read::Decoder::with_buffer(body)?),
        }
    }
}

fn count(mut decoder: impl Read) -> io::Result<u64> {
    io::copy(&mut decoder, &mut io::sink())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn the_decoded_size_of_each_encoding_is_counted() {
        let text = b"seat ".repeat(1_000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let zstd = zstd::stream::encode_all(text.as_slice(), 1).unwrap();
        // "seat " once, in an uncompressed meta-block.
        let brotli = [0x0b, 0x02, 0x80, b's', b'e', b'a', b't', b' ', 0x03];
        for (name, body, expected) in [
            ("gzip", gzip.finish().unwrap(), 5_000),
            ("deflate", zlib.finish().unwrap(), 5_000),
            ("zstd", zstd, 5_000),
            ("br", brotli.to_vec(), 5),
        ] {
            let encoding = Encoding::named(name).unwrap().unwrap();
            assert_eq!(encoding.decoded_bytes(&body).unwrap(), expected, "{name}");
            assert!(encoding.decoded_bytes(&body[..body.len() / 2]).is_err(), "{name}");
        }
        assert_eq!(Encoding::named("identity"), Ok(None));
        assert!(Encoding::named("lzma").is_err());
    }
}
