//! A body that is decompressed while it is sent.

use std::io::{Cursor, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use flate2::bufread::GzDecoder;
use hyper::body::{Frame, SizeHint};

/// What is decompressed at once, in less than a tenth of a millisecond.
const PIECE: usize = 16 * 1024;

/// Yields the content of compressed bytes. Only one piece of it is in memory.
pub struct Inflating {
    content: GzDecoder<Cursor<Bytes>>,
    left: usize,
}

impl Inflating {
    /// Decompresses `gzip`, whose content has this length.
    pub fn new(gzip: Bytes, length: usize) -> Self {
        Self { content: GzDecoder::new(Cursor::new(gzip)), left: length }
    }
}

impl HttpBody for Inflating {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; PIECE.min(self.left)];
        let read = self.content.read_exact(&mut piece);
        self.left -= piece.len();
        Poll::Ready(Some(read.map(|()| Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
