//! Each place in the code may log so many lines a second, whoever wrote it, libraries included: no flood of requests,
//! messages or errors becomes a flood of lines. What is left out is counted and reported once a second.
//!
//! DEBUG and TRACE are not limited: whoever turns them on wants all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// More than a process has to say of anything that happens in good order.
const LINES_PER_SECOND: u32 = 20;

#[derive(Clone, Default)]
pub(super) struct LineLimit(Arc<Mutex<HashMap<Identifier, Window>>>);

/// What a place in the code has logged in the second that began then.
struct Window {
    place: &'static Metadata<'static>,
    begun: Instant,
    lines: u32,
    left_out: u64,
}

impl LineLimit {
    /// Whether one more line from this place is logged.
    fn admits(&self, place: &'static Metadata<'static>, now: Instant) -> bool {
        let mut windows = self.lock();
        let window =
            windows.entry(place.callsite()).or_insert(Window { place, begun: now, lines: 0, left_out: 0 });
        if now.duration_since(window.begun) >= Duration::from_secs(1) {
            window.begun = now;
            window.lines = 0;
        }
        let is_admitted = window.lines < LINES_PER_SECOND;
        if is_admitted {
            window.lines += 1;
        } else {
            window.left_out += 1;
        }
        is_admitted
    }

    /// Logs how many lines have been left out since the last report, and of which places.
    pub fn report(&self) {
        let Some(places) = self.take_left_out() else { return };
        warn!("log lines left out, beyond {LINES_PER_SECOND} a second from one place: {places}");
    }

    fn take_left_out(&self) -> Option<String> {
        let mut left_out: Vec<String> = Vec::new();
        for window in self.lock().values_mut().filter(|window| window.left_out > 0) {
            let (place, count) = (window.place, std::mem::take(&mut window.left_out));
            let line = place.line().unwrap_or_default();
            left_out.push(format!("{count} {} from {}:{line}", place.level(), place.target()));
        }
        left_out.sort_unstable();
        (!left_out.is_empty()).then(|| left_out.join(", "))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for LineLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::INFO || self.admits(event.metadata(), Instant::now())
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
    fn a_place_that_logs_in_a_loop_is_limited_and_what_it_left_out_is_reported() {
        let (limit, queue) = (LineLimit::default(), Arc::new(LineQueue::new(LogIds::random())));
        let layer = fmt::layer().with_ansi(false).with_writer(queue.clone());
        tracing::subscriber::with_default(Registry::default().with(limit.clone()).with(layer), || {
            for number in 0..1_000 {
                warn!("line {number}");
                tracing::debug!("not limited");
            }
            tracing::error!("another place");
            limit.report();
        });
        let mut lines = Lines::default();
        queue.take(&mut lines, Duration::ZERO);
        let text = String::from_utf8(lines.bytes).unwrap();
        let count = |what| text.lines().filter(|line| line.contains(what)).count();
        // The loop may have taken more than a second.
        assert!(
            (20..500).contains(&count("WARN hamro_shared::telemetry::line_limit::tests: line ")),
            "{text}"
        );
        assert_eq!((count("not limited"), count("another place")), (1_000, 1));
        assert_eq!(count(" WARN from hamro_shared::telemetry::line_limit::tests:"), 1, "{text}");
    }
}
