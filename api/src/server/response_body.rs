//! The body of a response, as hyper reads it.
//!
//! It yields large data in pieces, so that hyper takes only as much as the client reads. Otherwise hyper would take
//! everything at once, and nothing could tell from the body whether the client reads it. It also tells the connection
//! when the response has been taken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::activity::RequestInProgress;
use super::response_stream::StreamPace;

/// The largest piece that hyper takes at once.
const PIECE: usize = 16 * 1024;

struct ResponseBody {
    body: Body,
    /// What is left of the last data.
    rest: Bytes,
    /// The size of the piece that hyper took last.
    taken: usize,
    /// Only for HTTP/2. The socket measures the pace of HTTP/1.1.
    pace: Option<Arc<StreamPace>>,
    _request: RequestInProgress,
}

/// Makes the request end when its response has been taken. A small response over HTTP/1.1 is taken at once, and is
/// returned as it is.
pub fn end_with_response(request: RequestInProgress, response: Response) -> Response {
    let is_small = response.body().size_hint().exact().is_some_and(|size| size <= PIECE as u64);
    let pace = if request.is_http2() { StreamPace::current() } else { None };
    if is_small && pace.is_none() {
        return response;
    }
    response
        .map(|body| Body::new(ResponseBody { body, rest: Bytes::new(), taken: 0, pace, _request: request }))
}

impl ResponseBody {
    fn next_piece(&mut self) -> Frame<Bytes> {
        let piece = if self.rest.len() > PIECE {
            self.rest.split_to(PIECE)
        } else {
            // Copied: h2 may keep the last piece for as long as the connection is open, and it would keep the memory of
            // the whole response.
            Bytes::copy_from_slice(&std::mem::take(&mut self.rest))
        };
        self.took(piece.len());
        Frame::data(piece)
    }

    /// hyper has taken data, and polls again once the client has taken it.
    fn took(&mut self, bytes: usize) {
        self.taken = bytes;
        if let Some(pace) = &self.pace {
            pace.lock().stall();
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(pace) = &self.pace {
            pace.lock().resume(self.taken);
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        match frame.into_data() {
            Ok(data) if data.len() > PIECE => {
                self.rest = data;
                Poll::Ready(Some(Ok(self.next_piece())))
            }
            Ok(data) => {
                self.took(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
