//! Logs panics. The default hook writes them to stderr under a lock, which blocks while the reader of stderr stalls.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::error;

pub(super) fn log_panics() {
    panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let message = panic.payload_as_str().unwrap_or("(no message)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    // Captured only if RUST_BACKTRACE is set.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    error!(thread, location, backtrace, "panicked at {location}: {message}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tracing_subscriber::fmt;

    use super::*;
    use crate::telemetry::LogIds;
    use crate::telemetry::queue::{LineQueue, Lines};

    #[test]
    fn a_panic_is_logged_with_its_message_and_location() {
        let queue = Arc::new(LineQueue::new(LogIds::random()));
        let subscriber = fmt().with_ansi(false).with_writer(queue.clone()).finish();
        let default_hook = panic::take_hook();
        log_panics();
        let panicked =
            tracing::subscriber::with_default(subscriber, || panic::catch_unwind(|| panic!("on purpose")));
        panic::set_hook(default_hook);
        assert!(panicked.is_err());
        let mut lines = Lines::default();
        queue.take(&mut lines, Duration::ZERO);
        let text = String::from_utf8(lines.bytes).unwrap();
        for part in ["ERROR", "panicked at ", "panics.rs:", "on purpose"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
