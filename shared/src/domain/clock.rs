//! Timestamps in UTC, in whole milliseconds, and an injected clock, which tests can set.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

// Truncated to milliseconds, the precision of a ticket id, so that a timestamp is equal wherever it is stored.
/// A timestamp in UTC with milliseconds, such as `2026-11-22T16:14:22.341Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-22T16:14:22.341Z")]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// `millis` milliseconds after the Unix epoch; `None` if that is out of chrono's range.
    pub fn from_unix_millis(millis: i64) -> Option<Self> {
        DateTime::from_timestamp_millis(millis).map(Self)
    }

    pub fn unix_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    pub fn datetime(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment.trunc_subsecs(3))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from(self.0 + duration)
    }
}

impl Timestamp {
    /// The time from `self` until `later`; zero if `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        (later.0 - self.0).to_std().unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DateTime::<Utc>::deserialize(deserializer).map(Self::from)
    }
}

/// Zero unless a test injects a clock error.
static OFFSET_MILLIS: AtomicI64 = AtomicI64::new(0);

/// The source of the current time. `Utc::now` is banned elsewhere, so that a test can set the clock instead of waiting.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self::new(|| {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
            let now = Utc::now();
            let offset = if cfg!(feature = "faults") { OFFSET_MILLIS.load(Ordering::Relaxed) } else { 0 };
            (now + TimeDelta::milliseconds(offset)).into()
        })
    }

    /// Sets all system clocks of this process ahead or back, for tests: see `hamro_shared::faults`.
    pub(crate) fn offset_system_clock(millis: i64) {
        OFFSET_MILLIS.store(millis, Ordering::Relaxed);
    }

    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// A clock that always shows `moment`.
    pub fn stopped_at(moment: Timestamp) -> Self {
        Self::new(move || moment)
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_serialisation_with_its_milliseconds() {
        let moment = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(json, "\"2026-11-22T16:14:22.341Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
    }

    #[test]
    fn the_time_until_a_past_timestamp_is_zero() {
        let now = Timestamp::from_unix_millis(1_000).unwrap();
        assert_eq!((now + Duration::from_secs(5)).until(now), Duration::ZERO);
        assert_eq!(now.until(now + Duration::from_secs(5)), Duration::from_secs(5));
    }
}
