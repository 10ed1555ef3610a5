//! Limits the lines that each call site, including those in libraries, may log per second. A burst of requests,
//! messages or errors therefore does not flood the log. Suppressed lines are counted and reported once a second.
//!
//! DEBUG and TRACE are not limited: an operator who enables them wants all lines.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line_counts::LineCounts;

/// The target of lines about changes that an administrator has made. They are not limited: each must say who made it, and
/// nobody without a token can cause one.
pub const CHANGES: &str = "changes";

/// More than any call site logs in normal operation.
const LINES_PER_SECOND: u32 = 20;

#[derive(Clone, Default)]
pub(super) struct LineLimit(Arc<State>);

#[derive(Default)]
struct State {
    windows: Mutex<HashMap<Identifier, Window>>,
    counts: LineCounts,
}

/// What one call site has logged in the current second.
struct Window {
    call_site: &'static Metadata<'static>,
    started: Instant,
    lines: u32,
    suppressed: u64,
}

impl LineLimit {
    /// Counts a line from this call site. Returns whether to log it.
    fn admits(&self, call_site: &'static Metadata<'static>, now: Instant) -> bool {
        let mut windows = self.lock();
        let window = windows.entry(call_site.callsite()).or_insert(Window {
            call_site,
            started: now,
            lines: 0,
            suppressed: 0,
        });
        if now.duration_since(window.started) >= Duration::from_secs(1) {
            window.started = now;
            window.lines = 0;
        }
        let is_admitted = window.lines < LINES_PER_SECOND;
        if is_admitted {
            window.lines += 1;
        } else {
            window.suppressed += 1;
            self.0.counts.count_suppressed();
        }
        is_admitted
    }

    /// The lines since the start of the program.
    pub fn counts(&self) -> &LineCounts {
        &self.0.counts
    }

    /// Logs how many lines of each call site were suppressed since the last report.
    pub fn report(&self) {
        let Some(suppressed) = self.take_suppressed() else { return };
        warn!("suppressed log lines (limit {LINES_PER_SECOND} a second per call site): {suppressed}");
    }

    fn take_suppressed(&self) -> Option<String> {
        let mut suppressed: Vec<String> = Vec::new();
        for window in self.lock().values_mut().filter(|window| window.suppressed > 0) {
            let (call_site, count) = (window.call_site, std::mem::take(&mut window.suppressed));
            let line = call_site.line().unwrap_or_default();
            suppressed.push(format!("{count} {} from {}:{line}", call_site.level(), call_site.target()));
        }
        suppressed.sort_unstable();
        (!suppressed.is_empty()).then(|| suppressed.join(", "))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Window>> {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for LineLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if level > Level::INFO {
            return true;
        }
        self.0.counts.count(level);
        target == CHANGES || self.admits(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, fmt};

    use super::*;
    use crate::telemetry::LogIds;
    use crate::telemetry::queue::{LineQueue, Lines};

    #[test]
    fn a_call_site_that_logs_in_a_loop_is_limited_and_its_suppressed_lines_are_reported() {
        let (limit, queue) = (LineLimit::default(), Arc::new(LineQueue::new(LogIds::random())));
        let layer = fmt::layer().with_ansi(false).with_writer(queue.clone());
        tracing::subscriber::with_default(Registry::default().with(limit.clone()).with(layer), || {
            for number in 0..1_000 {
                warn!("line {number}");
                tracing::debug!("not limited");
                tracing::info!(target: CHANGES, "a change");
            }
            tracing::error!("another call site");
            limit.report();
        });
        let mut lines = Lines::default();
        queue.take(&mut lines, Duration::ZERO);
        let text = String::from_utf8(lines.bytes).unwrap();
        let count = |what| text.lines().filter(|line| line.contains(what)).count();
        // The loop may take longer than a second.
        assert!(
            (20..500).contains(&count("WARN hamro_shared::telemetry::line_limit::tests: line ")),
            "{text}"
        );
        assert_eq!((count("not limited"), count("a change")), (1_000, 1_000));
        assert_eq!(count("another call site"), 1);
        assert_eq!(count(" WARN from hamro_shared::telemetry::line_limit::tests:"), 1, "{text}");
        let [error, warn, info] = limit.counts().by_level();
        // The report is a warning too.
        assert_eq!((error, warn, info), (1, 1_001, 1_000));
        let suppressed = limit.counts().suppressed();
        assert_eq!(usize::try_from(suppressed).unwrap(), 1_000 - count(": line "), "{text}");
    }
}
