//! Settles poison messages: parcels that exceeded the delivery limit of the intake queue because workers died with
//! them.
//!
//! One booking of such a parcel may kill every worker that tries it. The others were only in the same parcel, and other
//! parcels were only prefetched by the same workers. So each parcel is first split: its bookings are republished to
//! `bookings.dead` as *isolated* messages, one booking each, and then settled one at a time. The broker counts how
//! often an isolated message is redelivered (`x-delivery-count`), whatever the booking does to this process. After
//! three redeliveries a booking is not tried again: it fails and is stored as a dead letter.
//!
//! A crash at any step duplicates a message and never loses one: bookings are republished and confirmed before their
//! parcel is acknowledged, and settled before they are acknowledged. Duplicates are settled once.
//!
//! A booking must not be blamed if something else kills the process. So only one message is unacknowledged at a time,
//! none is taken while the database is unavailable, and the process must have run for a while (`REAPER_DELAY`): a
//! poison booking in the intake queue kills a worker soon after its start.
//!
//! Bookings that were set aside are in this queue too. They are retried with growing pauses until their deadline. Each
//! waits at the end of the queue as a new message, so that it uses up no redelivery and delays no other message.
//!
//! Any number of workers may do this at once: each message is delivered to one of them.

mod handle;
mod rotation;
mod step;

use std::time::Duration;

use futures_util::StreamExt;
use hamro_shared::config::Env;
use hamro_shared::database::{DatabaseClock, Sessions, wait_until_database_usable};
use hamro_shared::domain::Clock;
use hamro_shared::queue::{Broker, BrokerTask, ConfirmingChannel, QueueDeleted, consume, supervise};
use lapin::{Channel, Connection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::handle::{NextAction, acknowledge};
use self::rotation::Rotation;
use crate::pipeline::isolated_booking::RetrySchedule;
use crate::pipeline::outcome_publisher::OutcomePublisher;
use crate::readiness::Readiness;
use crate::settlement::executor::BatchExecutor;

#[derive(Clone, Copy, Debug)]
pub struct PoisonConfig {
    /// How long a worker must have run before it takes poison messages.
    pub delay: Duration,
}

impl PoisonConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let delay = env
            .variable(
                "REAPER_DELAY",
                "How long a worker must have run before its poison isolator starts.",
                "a duration such as 10s",
            )
            .or_default("10s");
        Some(Self { delay: delay? })
    }
}

pub struct PoisonIsolator {
    executor: BatchExecutor,
    outcome_publisher: OutcomePublisher,
    readiness: Readiness,
    sessions: Sessions,
    database_clock: DatabaseClock,
    queue: String,
    clock: Clock,
}

impl PoisonIsolator {
    pub fn new(
        executor: BatchExecutor,
        sessions: &Sessions,
        database_clock: &DatabaseClock,
        broker: &Broker,
        outcome_publisher: OutcomePublisher,
        readiness: Readiness,
    ) -> Self {
        Self {
            executor,
            outcome_publisher,
            readiness,
            sessions: sessions.clone(),
            clock: database_clock.clock(),
            database_clock: database_clock.clone(),
            queue: broker.topology().dead_queue(),
        }
    }

    /// Settles poison messages until `stop`, once this process has run for `delay`.
    pub async fn run(
        mut self,
        broker: Broker,
        delay: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if timeout(delay, stop.cancelled()).await.is_err() {
            supervise(&broker, &stop, &mut self).await;
        }
        Ok(())
    }
}

struct Channels<'a> {
    consuming: &'a Channel,
    publishing: ConfirmingChannel<'a>,
}

impl BrokerTask for PoisonIsolator {
    const ROLE: &'static str = "isolating poison messages";
    const CONFIRMS: bool = true;

    fn publishes_to(&self) -> Vec<String> {
        // The default exchange.
        vec![String::new()]
    }

    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // A message that is held while the database is unavailable only uses up redeliveries.
        let database = wait_until_database_usable(&self.sessions, &self.database_clock);
        match stop.run_until_cancelled(database).await {
            Some(usable) => usable?,
            None => return Ok(()),
        }
        let mut deliveries = consume(channel, &self.queue, 1).await?;
        info!("isolating poison messages from {}", self.queue);
        self.readiness.set_ready();
        let channels =
            Channels { consuming: channel, publishing: ConfirmingChannel::new(connection, channel) };
        let result = self.consume(&mut deliveries, channels, stop).await;
        self.readiness.set_not_ready("not consuming");
        result
    }
}

impl PoisonIsolator {
    async fn consume(
        &mut self,
        deliveries: &mut lapin::Consumer,
        mut channels: Channels<'_>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut rotation = Rotation::default();
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                delivery = deliveries.next() => delivery.ok_or_else(|| QueueDeleted(self.queue.clone()))??,
            };
            let (schedule, now) = (RetrySchedule::of(&delivery), self.clock.now());
            if schedule.set_aside > 0 {
                self.readiness.note("a booking is set aside; see the log");
            }
            let next_action = match schedule.at.filter(|at| *at > now) {
                Some(due) => {
                    self.postpone(&mut channels.publishing, &delivery, due, now, &mut rotation, stop).await?
                }
                None => {
                    rotation = Rotation::default();
                    self.handle(deliveries, &mut channels, &delivery, schedule, now, stop).await?
                }
            };
            match next_action {
                NextAction::Acknowledge => acknowledge(&delivery).await?,
                NextAction::QueueDeleted => {
                    acknowledge(&delivery).await?;
                    return Err(QueueDeleted(self.queue.clone()).into());
                }
                NextAction::Stopped => return Ok(()),
            }
        }
    }
}
