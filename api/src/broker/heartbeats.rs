//! Tells all api instances how many bookings this one has published, which controls of the intake it obeys, and what it has
//! counted. Also which settings it has that all instances must share.

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::time::Duration;

use hamro_shared::database::DatabaseClock;
use hamro_shared::lifecycle::ShutdownLimits;
use hamro_shared::queue::{
    ApiFigures, HeartbeatSchedule, InstanceReport, Latencies, ProcessState, Published,
};
use lapin::Connection;
use tokio::time::Instant;
use tracing::debug;

use super::side_channel::SideChannel;
use crate::booking_policy::BookingPolicy;
use crate::http::problem::ProblemCode;
use crate::intake::Intake;
use crate::metrics::{ApiMetrics, RefusalCode};
use crate::outcomes::queue_estimate::QueueEstimate;

/// What a heartbeat of this instance reports besides the bookings that were published.
#[derive(Clone)]
pub struct Reporter {
    pub intake: Intake,
    pub metrics: ApiMetrics,
    pub instance: InstanceReporter,
}

/// Reports the settings and the clock of this instance.
#[derive(Clone)]
pub struct InstanceReporter {
    /// What does not change.
    settings: InstanceReport,
    started: Instant,
    clock: DatabaseClock,
}

impl InstanceReporter {
    pub fn new(
        policy: &BookingPolicy,
        shutdown: ShutdownLimits,
        database_connections: NonZeroU16,
        clock: DatabaseClock,
    ) -> Self {
        let settings = InstanceReport {
            ticket_keys: policy.ticket_keys.fingerprints(),
            booking_deadline_millis: millis(policy.booking_deadline),
            shutdown_timeout_millis: millis(shutdown.total),
            database_connections: database_connections.get(),
            ..InstanceReport::default()
        };
        Self { settings, started: Instant::now(), clock }
    }

    fn report(&self) -> InstanceReport {
        InstanceReport {
            uptime_millis: millis(self.started.elapsed()),
            clock_offset_millis: self.clock.offset_millis(),
            ..self.settings.clone()
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Reporter {
    fn complete(&self, published: Published) -> Published {
        let (figures, instance) = (Some(self.figures()), Some(self.instance.report()));
        Published { figures, instance, ..self.intake.complete(published) }
    }

    fn figures(&self) -> ApiFigures {
        let ApiMetrics { accepted, accept_latency, refusals, .. } = &self.metrics;
        let refused = ProblemCode::ALL.iter().filter_map(|code| {
            let code = code.as_str();
            let count = refusals.get(&RefusalCode { code })?.get();
            (count > 0).then(|| (code.to_owned(), count))
        });
        ApiFigures {
            accepted: accepted.get(),
            accept_latency: Latencies::new(accept_latency.counts()),
            refused: refused.collect(),
        }
    }
}

/// Sends the heartbeats of this instance.
pub(super) struct HeartbeatSender<'a> {
    channel: SideChannel<'a>,
    queue_estimate: QueueEstimate,
    reporter: Reporter,
}

impl<'a> HeartbeatSender<'a> {
    pub fn new(
        connection: &'a Connection,
        exchange: String,
        queue_estimate: QueueEstimate,
        reporter: Reporter,
    ) -> Self {
        Self { channel: SideChannel::new(connection, exchange), queue_estimate, reporter }
    }

    /// Sends heartbeats. One that cannot be sent is skipped.
    pub async fn send_all(&mut self) -> Infallible {
        let (queue_estimate, reporter) = (self.queue_estimate.clone(), self.reporter.clone());
        let describe = || ProcessState::Api(reporter.complete(queue_estimate.published()));
        let mut schedule = HeartbeatSchedule::default();
        loop {
            let state = tokio::select! {
                state = schedule.next(describe) => state,
                // At once, besides the schedule.
                () = reporter.intake.changed_here() => describe(),
            };
            if self.channel.is_blocked() {
                continue;
            }
            if let ProcessState::Api(published) = &state {
                reporter.intake.on_own_heartbeat(published, Instant::now());
            }
            if let Err(error) = self.channel.send(&queue_estimate.heartbeat(state).encode()).await {
                debug!("cannot send a heartbeat: {error:#}");
            }
        }
    }

    pub async fn close(self) {
        self.channel.close().await;
    }
}
