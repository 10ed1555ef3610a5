//! The canary books and releases a seat of a hidden concert again and again. It is the one figure that says that the whole
//! path works: the HTTP server, the queue, a worker, the database and the announcement of outcomes.
//!
//! One instance of the installation runs it, the one that holds an advisory lock. When that instance ends or loses its
//! session, another takes over. A run that is broken off leaves a seat sold at most until the next run, which releases it.
//! docs/decisions/0028-the-canary.md has the reasons.

mod attempt;
mod concert;
mod metrics;
mod own_http;
mod results;

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Context;
use hamro_shared::canary::latest_report;
use hamro_shared::config::Env;
use hamro_shared::database::Sessions;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::attempt::{Attempt, Ended, Failure, Step};
pub use self::metrics::CanaryMetrics;
pub use self::own_http::OwnHttp;
use self::results::{prune, record};
use crate::state::AppState;

/// Identifies the advisory lock: "canary" in ASCII.
const LOCK: i64 = 0x6361_6e61_7279;

/// How long opening the session, or storing a result, may take.
const DATABASE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// `None`: the canary is off.
    pub every: Option<Duration>,
    /// How long a booking may take to be settled.
    pub settle_limit: Duration,
}

impl CanaryConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let every: Option<Duration> = env
            .variable(
                "CANARY_EVERY",
                "How often one of the api instances books and releases a seat of a hidden concert, which proves that bookings \
                 work. From a second to an hour; by default never.",
                "a duration such as 1m",
            )
            .optional()?;
        let settle_limit: Option<Duration> = env
            .variable(
                "CANARY_TIMEOUT",
                "How long a booking of the canary may take to be settled before the run counts as failed. From a second to an \
                 hour.",
                "a duration such as 30s",
            )
            .or_default("30s");
        for (name, duration) in [("CANARY_EVERY", every), ("CANARY_TIMEOUT", settle_limit)] {
            if duration.is_some_and(|duration| !ALLOWED.contains(&duration)) {
                env.record_error(format!(
                    "{name} is not from a second to an hour: it should be a duration such as 30s"
                ));
            }
        }
        Some(Self { every, settle_limit: settle_limit? })
    }
}

const ALLOWED: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// What the canary works with.
pub struct Canary {
    pub app: AppState,
    pub http: OwnHttp,
    pub settle_limit: Duration,
    pub sessions: Sessions,
    pub metrics: CanaryMetrics,
    /// The result of the last run of this process was a failure.
    pub has_failed: bool,
}

impl Canary {
    /// Runs at every tick until `draining`, if this instance holds the lock. A run that is in progress at `stop` is broken off.
    pub async fn run(
        mut self,
        every: Duration,
        mut schema_ready: watch::Receiver<bool>,
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        self.metrics.expect_runs();
        let rounds = async {
            schema_ready.wait_for(|is_ready| *is_ready).await.context("the schema was never ready")?;
            // Not at once: a process that has just started may not be connected to the broker.
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut lock = None;
            while draining.run_until_cancelled(ticks.tick()).await.is_some() {
                lock = self.round(lock).await;
            }
            anyhow::Ok(())
        };
        stop.run_until_cancelled(Box::pin(rounds)).await.transpose()?;
        stop.cancelled().await;
        Ok(())
    }

    /// One run, if this instance has the lock or gets it. Returns the session that holds it, unless it failed.
    async fn round(&mut self, lock: Option<PgConnection>) -> Option<PgConnection> {
        let mut session = match lock {
            Some(session) => session,
            None => match within_limit(self.try_lock()).await {
                Ok(session) => session?,
                Err(cause) => {
                    self.report(&Ended::Failed(Failure::new(Step::Prepare, cause)));
                    return None;
                }
            },
        };
        let started = Instant::now();
        let attempt = Attempt { app: &self.app, http: &self.http, settle_limit: self.settle_limit };
        let ended = attempt.make(&mut session).await;
        let duration = started.elapsed();
        self.report(&ended);
        if matches!(ended, Ended::Succeeded) {
            self.metrics.succeeded_in(duration);
        }
        let stored = within_limit(async {
            let last_success = record(&mut session, &ended, duration).await?;
            prune(&mut session).await?;
            Ok(last_success)
        });
        match stored.await {
            Ok(last_success) => {
                self.metrics.set_last_success(last_success);
                Some(session)
            }
            Err(error) => {
                warn!("the canary cannot store its result: {error:#}");
                None
            }
        }
    }

    /// Opens a session with the lock. `None` if another instance has it; its last success is then known here too.
    async fn try_lock(&mut self) -> anyhow::Result<Option<PgConnection>> {
        let mut session = self.sessions.open().await?.connection;
        let last_success = latest_report(&mut session).await?.and_then(|report| report.last_success_at);
        self.metrics.set_last_success(last_success);
        let is_locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "is_locked!""#, LOCK)
            .fetch_one(&mut session)
            .await?;
        if is_locked {
            info!("the canary runs on this instance");
            return Ok(Some(session));
        }
        session.close().await?;
        Ok(None)
    }

    /// Counts and logs how a run has ended.
    fn report(&mut self, ended: &Ended) {
        self.metrics.count(ended);
        match ended {
            Ended::Succeeded if self.has_failed => info!("the canary succeeded again"),
            Ended::Succeeded => debug!("the canary succeeded"),
            Ended::Paused(code) => info!("the canary was refused by the controls of the intake: {code}"),
            Ended::Failed(failure) => warn!("the canary failed: {failure}"),
        }
        self.has_failed = matches!(ended, Ended::Failed(_));
    }
}

async fn within_limit<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(DATABASE_LIMIT, work)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the database did not respond within {DATABASE_LIMIT:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<CanaryConfig, String> {
        let mut env = Env::of(variables);
        let config = CanaryConfig::read(&mut env);
        env.finish(config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_canary_is_off_by_default_and_runs_at_least_hourly_and_at_most_every_second() {
        let seconds = Duration::from_secs;
        assert_eq!(read(&[]), Ok(CanaryConfig { every: None, settle_limit: seconds(30) }));
        let set = read(&[("CANARY_EVERY", "1m"), ("CANARY_TIMEOUT", "5s")]);
        assert_eq!(set, Ok(CanaryConfig { every: Some(seconds(60)), settle_limit: seconds(5) }));
        for (name, value) in [
            ("CANARY_EVERY", "0s"),
            ("CANARY_EVERY", "999ms"),
            ("CANARY_EVERY", "61m"),
            ("CANARY_EVERY", "60"),
            ("CANARY_TIMEOUT", "0s"),
            ("CANARY_TIMEOUT", "2h"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains("a duration such as"), "{value}: {error}");
        }
    }
}
