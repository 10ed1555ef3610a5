//! Decodes a compressed body. The result is bounded while it is decoded, so a small body that decodes to gigabytes costs
//! no more than any other.

use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

/// The supported encodings, as `Accept-Encoding` lists them.
pub const SUPPORTED: &str = "gzip, deflate, br, zstd";

/// The largest window of a zstd frame, 8 MiB, as the HTTP coding limits it (RFC 9659).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const BROTLI_BUFFER_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    Corrupt,
    TooLarge,
}

impl ContentEncoding {
    /// The encoding with this name, in lower case.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    pub fn decode(self, bytes: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Gzip => read(MultiGzDecoder::new(bytes), max),
            Self::Deflate => read(ZlibDecoder::new(bytes), max),
            Self::Brotli => read(brotli_decompressor::Decompressor::new(bytes, BROTLI_BUFFER_BYTES), max),
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| DecodeError::Corrupt)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| DecodeError::Corrupt)?;
                read(decoder, max)
            }
        }
    }
}

fn read(decoder: impl Read, max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut bytes).map_err(|_| DecodeError::Corrupt)?;
    if bytes.len() > max { Err(DecodeError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    const MAX: usize = 64 * 1024;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_supported_encoding_is_decoded() {
        let text = b"{\"seatIds\":[21]}";
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(text).unwrap();
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        // `printf '{"seatIds":[21]}' | brotli`
        let brotli = hex_bytes("8b07807b22736561744964 73223a5b32315d7d03");
        let encoded = [gzip(text), deflate.finish().unwrap(), brotli, zstd];
        for (name, bytes) in SUPPORTED.split(", ").zip(encoded) {
            let encoding = ContentEncoding::named(name).unwrap();
            assert_eq!(encoding.decode(&bytes, MAX).as_deref(), Ok(&text[..]), "{name}");
            assert_eq!(encoding.decode(&bytes[..bytes.len() - 3], MAX), Err(DecodeError::Corrupt), "{name}");
            assert_eq!(encoding.decode(b"not encoded", MAX), Err(DecodeError::Corrupt), "{name}");
        }
        assert_eq!(ContentEncoding::named("compress"), None);
    }

    #[test]
    fn decoding_stops_at_the_limit() {
        let bomb = gzip(&vec![b' '; 1 << 26]);
        assert!(bomb.len() < 1 << 17);
        assert_eq!(ContentEncoding::Gzip.decode(&bomb, MAX), Err(DecodeError::TooLarge));
        let largest = gzip(&vec![b' '; MAX]);
        assert_eq!(ContentEncoding::Gzip.decode(&largest, MAX).unwrap().len(), MAX);
    }

    fn hex_bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
