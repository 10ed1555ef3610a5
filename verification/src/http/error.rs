//! Failed requests.

use std::error::Error;
use std::io;

use hyper::http;

/// Why there is no response. The request may have had an effect, unless it is invalid or no connection was opened.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the request is invalid: {0}")]
    Invalid(#[from] http::Error),
    #[error("no connection: {0}")]
    Unreachable(io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the event stream is invalid: {0}")]
    InvalidEvents(sse_stream::Error),
    #[error("the request timed out")]
    TimedOut,
}

impl RequestError {
    /// A short name, used as the key of a counter.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-request",
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken-connection",
            Self::InvalidEvents(_) => "invalid-event-stream",
            Self::TimedOut => "no-response",
        }
    }
}

impl From<hyper::Error> for RequestError {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<sse_stream::Error> for RequestError {
    fn from(error: sse_stream::Error) -> Self {
        match error {
            sse_stream::Error::Body(error) => Self::Broken(error),
            invalid => Self::InvalidEvents(invalid),
        }
    }
}
