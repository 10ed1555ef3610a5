//! Whether a rush is on, in which the auditor waits.
//!
//! It knows it by what its own worker holds, and by the rows that all workers insert into `bookings`, which Postgres counts
//! anyway. Both are read without a scan.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use crate::pipeline::workload::Workload;

/// Bookings per second, of all workers, from which on it is a rush. A busy worker settles thousands.
const RUSH_RATE: f64 = 50.0;
/// How often to read the count of rows. Postgres updates it once a second.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A rush is over once nothing has indicated it for this long.
const OVER_AFTER: Duration = Duration::from_secs(2);

pub struct Rush {
    workload: Workload,
    sample: Option<(Instant, i64)>,
    /// When something has last indicated a rush.
    indicated_at: Option<Instant>,
}

impl Rush {
    /// `workload` is that of the auditor's own worker.
    pub fn new(workload: Workload) -> Self {
        Self { workload, sample: None, indicated_at: None }
    }

    pub async fn is_on(&mut self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        if self.sample.is_none_or(|(at, _)| at.elapsed() >= SAMPLE_EVERY) {
            let count = sqlx::query_scalar!("SELECT pg_stat_get_tuples_inserted('bookings'::regclass)")
                .fetch_one(connection)
                .await?;
            self.sampled(Instant::now(), count.unwrap_or_default());
        }
        let now = Instant::now();
        if self.workload.state().bookings > 0 {
            self.indicated_at = Some(now);
        }
        Ok(self.indicated_at.is_some_and(|at| now.duration_since(at) < OVER_AFTER))
    }

    fn sampled(&mut self, now: Instant, count: i64) {
        if let Some((at, earlier)) = self.sample.replace((now, count)) {
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let inserted = count.saturating_sub(earlier) as f64;
            if inserted >= RUSH_RATE * now.duration_since(at).as_secs_f64() {
                self.indicated_at = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_is_a_high_rate_of_new_bookings_and_not_their_number() {
        let mut rush = Rush::new(Workload::default());
        let begin = Instant::now();
        for (second, count, is_rush) in [(0, 1_000_000, false), (1, 1_000_049, false), (2, 1_000_100, true)] {
            let now = begin + Duration::from_secs(second);
            rush.sampled(now, count);
            assert_eq!(rush.indicated_at.is_some(), is_rush, "after {second} s");
        }
    }

    #[test]
    fn statistics_that_were_reset_are_no_rush() {
        let mut rush = Rush::new(Workload::default());
        let begin = Instant::now();
        rush.sampled(begin, 1_000);
        rush.sampled(begin + Duration::from_secs(1), 0);
        assert_eq!(rush.indicated_at, None);
    }
}
