//! What happens on one connection, and when it has to be closed because its client is too slow or idle.
//!
//! The socket reports what is read and written, the service reports requests and their responses. [`Activity::watch`]
//! runs in the same task as the connection, so it sees each change without being woken.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::http::Version;
use tokio::time::Instant;

use super::pace::{Deadline, Pace};

/// How long a client may take to complete a head that it has begun.
const BEGUN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The first bytes of HTTP/2 (RFC 9113, section 3.4). No method of HTTP/1.1 that is in use begins like this.
const PREFACE: &[u8] = b"PRI";

/// How long the server waits for the client of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// For the next request.
    pub idle: Duration,
    /// For the client to take anything of what is sent to it.
    pub write: Duration,
}

pub struct Activity {
    timeouts: ConnectionTimeouts,
    state: Mutex<State>,
}

struct State {
    is_http2: bool,
    has_requested: bool,
    /// The number of requests whose responses hyper has not taken completely.
    requests: usize,
    /// When the last response was taken. Meaningful only while there are no requests.
    idle_since: Instant,
    head_begun: Option<Instant>,
    writing: Pace,
    is_closing: bool,
}

/// A request in progress. It ends when this is dropped.
pub struct RequestInProgress(Arc<Activity>);

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Finish the requests in progress, and accept no more. HTTP/2 clients receive `GOAWAY`.
    CloseGracefully,
    CloseNow(&'static str),
}

impl Activity {
    pub fn new(timeouts: ConnectionTimeouts) -> Arc<Self> {
        let state = State {
            is_http2: false,
            has_requested: false,
            requests: 0,
            idle_since: Instant::now(),
            head_begun: None,
            writing: Pace::default(),
            is_closing: false,
        };
        Arc::new(Self { timeouts, state: Mutex::new(state) })
    }

    /// Records bytes from the client.
    pub fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        if bytes.is_empty() || state.requests > 0 || state.is_http2 {
            return;
        }
        if !state.has_requested && state.head_begun.is_none() && bytes.starts_with(PREFACE) {
            state.is_http2 = true;
            return;
        }
        state.head_begun.get_or_insert_with(Instant::now);
    }

    /// Records that the client takes nothing more for now.
    pub fn stall(&self) {
        self.state().writing.stall();
    }

    /// Records that the client has taken bytes.
    pub fn resume(&self, bytes: usize) {
        self.state().writing.resume(bytes);
    }

    /// Records a complete head.
    pub fn begin_request(self: &Arc<Self>, version: Version) -> RequestInProgress {
        let mut state = self.state();
        state.is_http2 = version == Version::HTTP_2;
        state.has_requested = true;
        state.requests += 1;
        state.head_begun = None;
        RequestInProgress(self.clone())
    }

    /// Resolves once the connection has carried a request. To be polled like [`watch`](Self::watch).
    pub async fn first_request(&self) {
        poll_fn(|_| if self.state().has_requested { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Resolves once something has to be done. To be polled after the connection, in the same task. May be called again.
    pub async fn watch(&self) -> Verdict {
        let mut timer = Deadline::default();
        poll_fn(|context| {
            let (deadline, verdict) = self.next();
            match (timer.poll(deadline, context), verdict) {
                (Poll::Ready(()), Some(verdict)) => {
                    self.state().is_closing |= verdict == Verdict::CloseGracefully;
                    Poll::Ready(verdict)
                }
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// The next deadline, and what to do when it passes.
    fn next(&self) -> (Option<Instant>, Option<Verdict>) {
        let state = self.state();
        let unread = state.writing.deadline(self.timeouts.write);
        let unread = unread.map(|at| (at, Verdict::CloseNow("the client does not read")));
        let quiet = (state.requests == 0).then(|| state.quiet(self.timeouts));
        match [unread, quiet].into_iter().flatten().min_by_key(|(at, _)| *at) {
            Some((at, verdict)) => (Some(at), Some(verdict)),
            // The last response of HTTP/2 ends in another task, which may not wake this one.
            None if state.is_http2 => (Some(Instant::now() + self.timeouts.idle), None),
            None => (None, None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The deadline for the next head.
    fn quiet(&self, timeouts: ConnectionTimeouts) -> (Instant, Verdict) {
        let idle_until = self.idle_since + timeouts.idle;
        match self.head_begun {
            Some(begun) => {
                let at = begun + BEGUN_HEAD_TIMEOUT.min(timeouts.idle);
                (at, Verdict::CloseNow("the head is incomplete"))
            }
            None if self.is_http2 && self.has_requested && !self.is_closing => {
                (idle_until, Verdict::CloseGracefully)
            }
            // What hyper still has to send of earlier responses has another write timeout.
            None if self.is_closing => {
                (idle_until + timeouts.write, Verdict::CloseNow("the client does not read"))
            }
            None => (idle_until, Verdict::CloseNow("no request arrived")),
        }
    }
}

impl RequestInProgress {
    /// Whether it is a request over HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.0.state().is_http2
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const TIMEOUTS: ConnectionTimeouts =
        ConnectionTimeouts { idle: Duration::from_secs(75), write: Duration::from_secs(30) };

    /// The seconds until the verdict.
    async fn verdict(activity: &Activity) -> (u64, Verdict) {
        let start = Instant::now();
        let verdict = activity.watch().await;
        (start.elapsed().as_secs(), verdict)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_idle_longer_than_a_head_may_take() {
        let idle = (75, Verdict::CloseNow("no request arrived"));
        assert_eq!(verdict(&Activity::new(TIMEOUTS)).await, idle);
        let activity = Activity::new(TIMEOUTS);
        activity.read(b"GET / HTTP/1.1\r\n");
        assert_eq!(verdict(&activity).await, (10, Verdict::CloseNow("the head is incomplete")));
        let activity = Activity::new(TIMEOUTS);
        activity.read(b"GET / HTTP/1.1\r\n\r\n");
        drop(activity.begin_request(Version::HTTP_11));
        assert_eq!(verdict(&activity).await, idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_progress_keeps_its_connection_unless_the_client_does_not_read() {
        let activity = Activity::new(TIMEOUTS);
        let _request = activity.begin_request(Version::HTTP_11);
        activity.read(b"more of a body");
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, activity.watch()).await.is_err());
        activity.stall();
        assert_eq!(verdict(&activity).await, (30, Verdict::CloseNow("the client does not read")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_http2_connection_is_closed_gracefully_and_then_at_once() {
        let activity = Activity::new(TIMEOUTS);
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let request = activity.begin_request(Version::HTTP_2);
        activity.read(b"a ping");
        drop(request);
        assert_eq!(verdict(&activity).await, (75, Verdict::CloseGracefully));
        assert_eq!(verdict(&activity).await, (30, Verdict::CloseNow("the client does not read")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_may_stay_without_a_request_as_long_as_an_idle_one() {
        let activity = Activity::new(TIMEOUTS);
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        activity.read(b"settings");
        assert_eq!(verdict(&activity).await, (75, Verdict::CloseNow("no request arrived")));
    }
}
