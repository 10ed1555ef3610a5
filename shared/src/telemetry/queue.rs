//! Lines that wait to be written. Whoever logs puts a line here and goes on; the lock is held for no more than a copy.

use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LogIds;

/// The most bytes that wait. As many again may be on their way to the reader of the log.
const CAPACITY: usize = 1 << 20;
/// What an empty buffer keeps allocated.
const KEPT: usize = 64 << 10;

pub(super) struct LineQueue {
    log_ids: LogIds,
    state: Mutex<State>,
    /// Notified when the first line comes into an empty queue.
    filled: Condvar,
    /// Notified when everything is written.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Lines,
    /// Lines that were not written and never will be.
    dropped: u64,
    /// Whether lines have been taken that are not settled yet.
    is_writing: bool,
}

/// Whole lines, one after the other.
#[derive(Default)]
pub(super) struct Lines {
    pub bytes: Vec<u8>,
    /// How many there are. One may have line breaks in it.
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
        if state.waiting.bytes.len() + line.len() > CAPACITY {
            state.dropped += 1;
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

    /// Takes all that waits, as soon as there is something; nothing after `patience`. `settle` must follow.
    pub fn take(&self, lines: &mut Lines, patience: Duration) {
        lines.bytes.clear();
        lines.bytes.shrink_to(KEPT);
        lines.count = 0;
        let state = self.lock();
        let empty = |state: &mut State| state.waiting.bytes.is_empty();
        let waited = self.filled.wait_timeout_while(state, patience, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.waiting, lines);
        state.is_writing = true;
    }

    /// So many of the lines that were taken could not be written.
    pub fn drop_lines(&self, count: u64) {
        self.lock().dropped += count;
    }

    /// How many lines have been dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        mem::take(&mut self.lock().dropped)
    }

    /// What was taken is written or dropped.
    pub fn settle(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        if state.waiting.bytes.is_empty() {
            self.drained.notify_all();
        }
    }

    /// Waits until everything is written or dropped, for so long at most.
    pub fn wait_until_drained(&self, patience: Duration) {
        let state = self.lock();
        let busy = |state: &mut State| state.is_writing || !state.waiting.bytes.is_empty();
        drop(self.drained.wait_timeout_while(state, patience, busy));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `tracing_subscriber` writes each line whole, by one call.
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
        assert_eq!(queue.take_dropped(), 0);
        let mut lines = Lines::default();
        queue.take(&mut lines, Duration::ZERO);
        assert_eq!(lines.count, fit);
        assert!(lines.bytes.len() <= CAPACITY);
        queue.push(&line);
        assert_eq!(queue.take_dropped(), 0, "there is room again");
    }
}
