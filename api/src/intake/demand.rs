//! How many bookings clients request from each live instance, and so which share of a limit each instance takes.
//!
//! An instance takes the share that it has of all requested bookings, so that a customer has the same chance at every
//! instance, and the whole limit is used whichever instances are asked. All instances compute with the counts that the
//! heartbeats carry, so that their shares add up to one. Where demand is not known yet, the shares are equal.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// An instance that was silent for this long takes no share. It sends a heartbeat at least once a second.
const SILENT_AFTER: Duration = Duration::from_millis(2_500);

/// After this long, an instance has heard all others.
const HEARD_ALL_AFTER: Duration = Duration::from_secs(2);
/// The share of an instance that has not, at most. Otherwise each that starts would take the whole limit first.
const STARTING_SHARE: f64 = 0.1;

/// Demand counts half as much after about this long.
const MEMORY: Duration = Duration::from_millis(500);
/// A smaller demand, in bookings per second, counts as none.
const NEGLIGIBLE: f64 = 0.05;

#[derive(Default)]
pub struct Demand {
    own: Meter,
    others: HashMap<Uuid, Meter>,
    listening_since: Option<Instant>,
}

/// The requested bookings per second of one instance.
#[derive(Clone, Copy, Default)]
struct Meter {
    per_second: f64,
    last: Option<(u64, Instant)>,
}

impl Demand {
    /// For other bookings, which nobody has requested yet from the same instances. Their shares are equal at first.
    pub fn among_the_same_instances(&self) -> Self {
        let others = self.others.iter().map(|(instance, meter)| (*instance, meter.at_zero())).collect();
        Self { own: self.own.at_zero(), others, listening_since: self.listening_since }
    }

    /// Since when this instance has received heartbeats; `None` while it does not.
    pub fn listens_since(&mut self, since: Option<Instant>) {
        self.listening_since = since;
    }

    /// `requested` counts since the start of this instance.
    pub fn record_own(&mut self, requested: u64, now: Instant) {
        self.own.record(requested, now);
        self.others.retain(|_, other| other.is_live(now));
    }

    /// `requested` counts since the start of the other instance.
    pub fn record_other(&mut self, instance: Uuid, requested: u64, now: Instant) {
        self.others.entry(instance).or_default().record(requested, now);
    }

    /// The share of this instance, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    pub fn share(&self, now: Instant) -> f64 {
        let own = self.own.per_second;
        let share =
            if own < NEGLIGIBLE { 1.0 / (1 + self.live(now).count()) as f64 } else { own / self.total(now) };
        let has_heard_all =
            self.listening_since.is_some_and(|since| now.duration_since(since) >= HEARD_ALL_AFTER);
        if has_heard_all { share } else { share.min(STARTING_SHARE) }
    }

    /// The bookings per second that clients request from all instances.
    pub fn total(&self, now: Instant) -> f64 {
        self.own.per_second + self.live(now).map(|other| other.per_second).sum::<f64>()
    }

    fn live(&self, now: Instant) -> impl Iterator<Item = &Meter> {
        self.others.values().filter(move |other| other.is_live(now))
    }
}

impl Meter {
    fn at_zero(&self) -> Self {
        Self { per_second: 0.0, last: self.last.map(|(_, at)| (0, at)) }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    fn record(&mut self, count: u64, now: Instant) {
        if let Some((counted, at)) = self.last {
            let seconds = now.duration_since(at).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            let measured = count.saturating_sub(counted) as f64 / seconds;
            let weight = (-seconds / MEMORY.as_secs_f64()).exp();
            self.per_second = self.per_second * weight + measured * (1.0 - weight);
        }
        self.last = Some((count, now));
    }

    fn is_live(&self, now: Instant) -> bool {
        self.last.is_some_and(|(_, at)| now.duration_since(at) < SILENT_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An instance that has heard all others.
    fn listening(now: Instant) -> Demand {
        let mut demand = Demand::default();
        demand.listens_since(Some(now.checked_sub(HEARD_ALL_AFTER).unwrap()));
        demand
    }

    fn assert_share(demand: &Demand, now: Instant, expected: f64) {
        let share = demand.share(now);
        assert!((share - expected).abs() < 0.02, "{share} instead of {expected}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_demand_the_live_instances_have_equal_shares() {
        let now = Instant::now();
        let mut demand = listening(now);
        assert_share(&demand, now, 1.0);
        demand.record_other(Uuid::from_u128(1), 7, now);
        demand.record_other(Uuid::from_u128(2), 0, now);
        assert_share(&demand, now, 1.0 / 3.0);
        assert_share(&demand, now + SILENT_AFTER, 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_is_that_of_the_requested_bookings() {
        let start = Instant::now();
        let mut demand = listening(start);
        for second in 0..10 {
            let now = start + SECOND * second;
            demand.record_own(u64::from(second) * 30, now);
            demand.record_other(Uuid::from_u128(1), u64::from(second) * 90, now);
            demand.record_other(Uuid::from_u128(2), 1_000, now);
        }
        let now = start + SECOND * 9;
        assert_share(&demand, now, 0.25);
        assert!((demand.total(now) - 120.0).abs() < 1.0, "{}", demand.total(now));
        // The other one dies.
        assert_share(&demand, now + SILENT_AFTER, 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_may_not_have_heard_all_others_takes_little() {
        let now = Instant::now();
        let mut demand = Demand::default();
        assert_share(&demand, now, STARTING_SHARE);
        demand.listens_since(Some(now));
        assert_share(&demand, now, STARTING_SHARE);
        assert_share(&demand, now + HEARD_ALL_AFTER, 1.0);
    }
}
