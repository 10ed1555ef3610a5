//! The queue of lines that wait to be written. A caller that logs only copies its line under the lock, and never waits
//! for the writer.

use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::LogIds;

/// The maximum number of queued bytes. The writer may hold as many again.
const CAPACITY: usize = 1 << 20;
/// How many more bytes the writer itself may queue: its reports say what was lost because the queue was full.
const RESERVED: usize = 16 << 10;
/// The allocation that an empty buffer keeps.
const KEPT: usize = 64 << 10;

pub(super) struct LineQueue {
    log_ids: LogIds,
    state: Mutex<State>,
    /// Notified when a line is pushed to the empty queue.
    filled: Condvar,
    /// Notified when all lines are written or dropped.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Lines,
    /// The number of lines dropped since the last report.
    dropped: u64,
    /// The number of lines dropped since the start.
    dropped_in_all: u64,
    /// The thread that takes lines.
    writer: Option<ThreadId>,
    /// Whether the writer has taken lines and not yet called `finish_write`.
    is_writing: bool,
}

/// Complete lines.
#[derive(Default)]
pub(super) struct Lines {
    pub bytes: Vec<u8>,
    /// The number of lines. A line may contain line breaks.
    pub count: u64,
}

impl LineQueue {
    pub fn new(log_ids: LogIds) -> Self {
        Self { log_ids, state: Mutex::default(), filled: Condvar::new(), drained: Condvar::new() }
    }

    /// Queues the line, or drops and counts it if there is no room.
    fn push(&self, line: &[u8]) {
        let line = self.log_ids.redact(line);
        let mut state = self.lock();
        let reserved = if state.writer == Some(thread::current().id()) { RESERVED } else { 0 };
        if state.waiting.bytes.len() + line.len() > CAPACITY + reserved {
            state.drop_lines(1);
            return;
        }
        let was_empty = state.waiting.bytes.is_empty();
        state.waiting.bytes.extend_from_slice(&line);
        state.waiting.count += 1;
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Takes all queued lines. Waits up to `timeout` for a first one. The caller must call `finish_write` afterwards.
    pub fn take(&self, lines: &mut Lines, timeout: Duration) {
        lines.bytes.clear();
        lines.bytes.shrink_to(KEPT);
        lines.count = 0;
        let state = self.lock();
        let empty = |state: &mut State| state.waiting.bytes.is_empty();
        let waited = self.filled.wait_timeout_while(state, timeout, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.waiting, lines);
        state.is_writing = true;
        state.writer = Some(thread::current().id());
    }

    /// Counts taken lines that could not be written.
    pub fn drop_lines(&self, count: u64) {
        self.lock().drop_lines(count);
    }

    /// Returns the number of lines dropped since the start.
    pub fn dropped_in_all(&self) -> u64 {
        self.lock().dropped_in_all
    }

    /// Returns the number of lines dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        mem::take(&mut self.lock().dropped)
    }

    /// The taken lines are written or dropped.
    pub fn finish_write(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        if state.waiting.bytes.is_empty() {
            self.drained.notify_all();
        }
    }

    /// Waits up to `timeout` until all lines are written or dropped.
    pub fn wait_until_drained(&self, timeout: Duration) {
        let state = self.lock();
        let busy = |state: &mut State| state.is_writing || !state.waiting.bytes.is_empty();
        drop(self.drained.wait_timeout_while(state, timeout, busy));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state inconsistent: no code under the lock panics between two changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_lines(&mut self, count: u64) {
        self.dropped += count;
        self.dropped_in_all += count;
    }
}

/// `tracing_subscriber` writes each line with a single call.
impl io::Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_capacity_are_dropped_and_counted() {
        let queue = LineQueue::new(LogIds::random());
        let line = [b'a'; 1000];
        let fit = u64::try_from(CAPACITY / line.len()).unwrap();
        for _ in 0..fit + 7 {
            queue.push(&line);
        }
        assert_eq!(queue.take_dropped(), 7);
        assert_eq!((queue.take_dropped(), queue.dropped_in_all()), (0, 7));
        let mut lines = Lines::default();
        queue.take(&mut lines, Duration::ZERO);
        assert_eq!(lines.count, fit);
        assert!(lines.bytes.len() <= CAPACITY);
        queue.push(&line);
        assert_eq!(queue.take_dropped(), 0, "there is room again");
    }
}
