//! The controls as metrics.

use hamro_shared::queue::ConcertControls;
use hamro_shared::telemetry::metrics::MetricsRegistry;

use super::Intake;

pub fn register(intake: &Intake, registry: &mut MetricsRegistry) {
    let known = intake.clone();
    registry.read_gauge("intake_paused", "Whether operators have paused the intake", move || {
        Some(if known.is_paused() { 1.0 } else { 0.0 })
    });
    let known = intake.clone();
    registry.read_gauge(
        "intake_limit_per_second",
        "Bookings per second that operators let the whole installation accept",
        move || known.current()?.controls.intake.accept_per_second.map(|limit| limit.get().into()),
    );
    let known = intake.clone();
    registry.read_gauge(
        "intake_paused_concerts",
        "Concerts whose bookings operators have paused",
        move || count(&known, |concert| concert.paused),
    );
    let known = intake.clone();
    registry.read_gauge(
        "intake_limited_concerts",
        "Concerts whose bookings per second operators have limited",
        move || count(&known, |concert| concert.accept_per_second.is_some()),
    );
}

fn count(intake: &Intake, matches: impl Fn(&ConcertControls) -> bool) -> Option<f64> {
    let concerts = intake.current()?.controls.concerts;
    let count = concerts.iter().filter(|concert| matches(concert)).count();
    u32::try_from(count).ok().map(f64::from)
}
