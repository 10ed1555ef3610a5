//! Resets the HTTP/2 streams whose clients do not take their responses.
//!
//! The socket of an HTTP/2 connection stays busy while the client answers pings, so a stalled stream cannot be told from
//! the socket. hyper polls the body of a response only when the client's window has room for more. So a body that has
//! yielded data and is not polled again waits for the client. hyper would wait without limit; [`StreamExecutor`] runs the
//! task of each stream, and ends it after the write timeout. h2 then discards what it has buffered, and sends
//! `RST_STREAM`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task_local;
use tracing::debug;

use super::pace::{Deadline, Pace};

task_local! {
    /// The pace of the stream that this task serves. hyper creates the task between the request and its response, and
    /// passes nothing from one to the other.
    static PACE: Arc<StreamPace>;
}

/// How fast a client takes the response of one stream.
#[derive(Default)]
pub struct StreamPace(Mutex<Pace>);

/// Runs the tasks of HTTP/2 streams.
#[derive(Clone)]
pub struct StreamExecutor {
    write_timeout: Duration,
}

impl StreamPace {
    /// The pace of the stream that the current task serves. `None` on HTTP/1.1.
    pub fn current() -> Option<Arc<Self>> {
        PACE.try_with(Arc::clone).ok()
    }

    pub fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once the client is too slow. To be polled after the stream, in the same task.
    async fn too_slow(&self, limit: Duration) {
        let mut timer = Deadline::default();
        poll_fn(|context| {
            let deadline = self.lock().deadline(limit);
            timer.poll(deadline, context)
        })
        .await;
    }
}

impl StreamExecutor {
    pub fn new(write_timeout: Duration) -> Self {
        Self { write_timeout }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let limit = self.write_timeout;
        tokio::spawn(async move {
            let pace = Arc::<StreamPace>::default();
            tokio::select! {
                biased;
                () = PACE.scope(pace.clone(), stream) => {}
                () = pace.too_slow(limit) => debug!("reset a stream: the client does not read its response"),
            }
        });
    }
}
