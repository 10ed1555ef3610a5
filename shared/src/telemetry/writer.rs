//! The thread that writes the log. Only this thread blocks while the reader of the log stalls.
//!
//! It writes to a duplicate of stdout's file descriptor, so no other thread waits for the lock of `std::io::stdout`.

use std::fs::File;
use std::io::{self, ErrorKind, Write, stdout};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::line_counts::LineCounts;
use super::line_limit::LineLimit;
use super::metrics::MetricsRegistry;
use super::queue::{LineQueue, Lines};
use crate::metric_labels;

metric_labels! {
    struct LogLevel {
        level,
    }
}

/// How often suppressed lines are reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The longest that a stalled reader of the log may delay the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Delay before a retry if another process has made the descriptor non-blocking.
const PAUSE: Duration = Duration::from_millis(20);

/// Keeps logging. Dropping it writes the queued lines, for up to a second.
#[must_use = "the last lines are lost unless this value lives as long as the process"]
pub struct Logging {
    queue: Arc<LineQueue>,
    limit: LineLimit,
}

impl Logging {
    pub(super) fn start(queue: Arc<LineQueue>, limit: LineLimit) -> io::Result<Self> {
        let output = File::from(stdout().as_fd().try_clone_to_owned()?);
        let logging = Self { queue: queue.clone(), limit: limit.clone() };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || Writer::new(output).run(&queue, &limit))?;
        Ok(logging)
    }

    /// Exports how many lines were logged, suppressed and dropped.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let (queue, limit) = (self.queue.clone(), self.limit.clone());
        registry.read_counter(
            "log_lines_dropped",
            "Log lines that were lost, because the log reader is too slow or its disk is full",
            move || Some(queue.dropped_in_all() as f64),
        );
        registry.read_counter(
            "log_lines_suppressed",
            "Log lines that were left out, because their place in the code logged too many",
            move || Some(limit.counts().suppressed() as f64),
        );
        let limit = self.limit.clone();
        registry.read_counters(
            "log_lines",
            "Log lines at INFO and above by level, including those that were suppressed or dropped",
            move || {
                let levels = LineCounts::LEVELS.map(|level| LogLevel { level });
                levels.into_iter().zip(limit.counts().by_level().map(|count| count as f64)).collect()
            },
        );
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.limit.report();
        report_dropped(self.queue.take_dropped());
        self.queue.wait_until_drained(FLUSH_TIMEOUT);
    }
}

struct Writer<W> {
    output: W,
    /// Whether the last line was written only in part.
    is_torn: bool,
    /// Whether the last lines could not be written.
    is_failing: bool,
}

impl<W: Write> Writer<W> {
    fn new(output: W) -> Self {
        Self { output, is_torn: false, is_failing: false }
    }

    fn run(mut self, queue: &LineQueue, limit: &LineLimit) {
        let mut lines = Lines::default();
        let mut reported = Instant::now();
        loop {
            self.write_next(queue, &mut lines);
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                limit.report();
                self.report_dropped(queue);
            }
        }
    }

    fn write_next(&mut self, queue: &LineQueue, lines: &mut Lines) {
        queue.take(lines, REPORT_EVERY);
        if lines.count > 0 {
            let written = self.write(&lines.bytes);
            self.is_failing = written.is_err();
            if let Err(rest) = written {
                let breaks = rest.split(|byte| *byte == b'\n').skip(1).count();
                queue.drop_lines(lines.count.min(breaks as u64));
            }
        }
        queue.finish_write();
    }

    /// Reports the lines that were dropped, once lines can be written again.
    fn report_dropped(&self, queue: &LineQueue) {
        if !self.is_failing {
            report_dropped(queue.take_dropped());
        }
    }

    /// Writes all lines. The error holds the bytes that were not written.
    fn write<'a>(&mut self, lines: &'a [u8]) -> Result<(), &'a [u8]> {
        if self.is_torn {
            self.write_bytes(b"\n").map_err(|_| lines)?;
            self.is_torn = false;
        }
        self.write_bytes(lines).inspect_err(|rest| {
            let written = &lines[..lines.len() - rest.len()];
            self.is_torn = written.last().is_some_and(|byte| *byte != b'\n');
        })
    }

    fn write_bytes<'a>(&mut self, mut bytes: &'a [u8]) -> Result<(), &'a [u8]> {
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => return Err(bytes),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                // The reader is gone or the disk is full. A later write may succeed.
                Err(_) => return Err(bytes),
            }
        }
        Ok(())
    }
}

fn report_dropped(dropped: u64) {
    if dropped > 0 {
        warn!(dropped, "dropped {dropped} log lines: the log reader is too slow or its disk is full");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;
    use crate::telemetry::LogIds;

    /// A disk with limited space.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(Error::from(ErrorKind::StorageFull));
            }
            self.room -= count;
            self.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_lost_on_a_full_disk_are_counted_and_do_not_corrupt_the_next_line() {
        let queue = Arc::new(LineQueue::new(LogIds::random()));
        let mut writer = Writer::new(Disk { room: 12, written: Vec::new() });
        let mut lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(queue.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut log = &*queue;
            for line in ["whole\n", "cut off\n", "lost\n"] {
                log.write_all(line.as_bytes()).unwrap();
            }
            writer.write_next(&queue, &mut lines);
            log.write_all(b"lost too\n").unwrap();
            writer.write_next(&queue, &mut lines);
            writer.report_dropped(&queue);
            writer.output.room = 1_000;
            log.write_all(b"there is room\n").unwrap();
            writer.write_next(&queue, &mut lines);
            writer.report_dropped(&queue);
            writer.write_next(&queue, &mut lines);
        });
        let text = String::from_utf8(writer.output.written).unwrap();
        assert!(text.starts_with("whole\ncut of\nthere is room\n"), "{text}");
        assert!(text.contains("dropped 3 log lines: "), "{text}");
        queue.wait_until_drained(Duration::ZERO);
    }

    #[test]
    fn the_report_of_lost_lines_is_queued_although_the_queue_is_full() {
        let queue = Arc::new(LineQueue::new(LogIds::random()));
        let mut writer = Writer::new(Vec::new());
        let mut lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(queue.clone()).finish();
        let log = queue.clone();
        let flood = move || {
            // Not a byte of the queue remains.
            for _ in 0..20_000 {
                (&*log).write_all(&[b'a'; 64]).unwrap();
            }
        };
        thread::spawn(flood.clone()).join().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            writer.write_next(&queue, &mut lines);
            // It is full again before the report.
            thread::spawn(flood).join().unwrap();
            let dropped = queue.dropped_in_all();
            writer.report_dropped(&queue);
            writer.write_next(&queue, &mut lines);
            let text = String::from_utf8(writer.output.clone()).unwrap();
            assert!(text.contains(&format!("dropped {dropped} log lines: ")), "not {dropped}");
        });
    }
}
