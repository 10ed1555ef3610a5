//! Publishes with confirms to a queue declared like the intake queue: the upper limit of the accept rate.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hamro_shared::backoff::Backoff;
use hamro_shared::config::Env;
use hamro_shared::domain::{Clock, Ticket, TicketId};
use hamro_shared::queue::{Broker, BrokerConfig, Envelope, Parcel, Topology, check_confirmation, properties};
use lapin::Channel;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use serde_json::json;
use uuid::Uuid;

use super::{BaselineResult, Stage};

/// Delay before a failed deletion is retried.
const DELETION: Duration = Duration::from_secs(1);

pub async fn measure(mut env: Env, duration: Duration, in_flight: usize) -> Result<Vec<BaselineResult>> {
    let url = env
        .variable("AMQP_URL", "The broker to measure.", "amqp://user:password@host:5672/%2f")
        .secret()
        .with_password("AMQP_PASSWORD")
        .required::<String>();
    let url = env.finish(url)?;
    // Separate queues, declared like those of the system.
    let prefix = format!("baseline-{:x}.", Clock::system().now().unix_millis());
    let mut env = Env::of(&[("AMQP_URL", &url), ("QUEUE_PREFIX", &prefix)]);
    let config = BrokerConfig::read(&mut env);
    let broker = Broker::new(&env.finish(config)?, "hamro-loadtest");
    let connection = broker.connect("measuring").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let figures = figures(&channel, broker.topology(), duration, in_flight).await;
    let cleaned_up = clean_up(&broker, &channel).await;
    // Best effort: the connection is no longer needed.
    let _ = connection.close(200, "done".into()).await;
    let figures = figures?;
    cleaned_up?;
    Ok(figures)
}

async fn figures(
    channel: &Channel,
    topology: &Topology,
    duration: Duration,
    in_flight: usize,
) -> Result<Vec<BaselineResult>> {
    let mut figures = Vec::new();
    for bookings in [1, Parcel::MAX_BOOKINGS] {
        let what = if bookings == 1 {
            "confirmed publishing, 1 booking per message".to_owned()
        } else {
            format!("confirmed publishing, {bookings} bookings per message")
        };
        let bookings_per_second = confirmed_rate(channel, topology, bookings, duration, in_flight).await?;
        figures.push(BaselineResult { what, stage: Stage::Accept, bookings_per_second });
    }
    Ok(figures)
}

/// Bookings confirmed per second, with up to `in_flight` outstanding confirms. Only one task publishes: on a shared
/// channel, lapin can assign confirms to the wrong messages.
///
/// The channel must be in confirm mode. The queue is purged afterwards.
#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
pub async fn confirmed_rate(
    channel: &Channel,
    topology: &Topology,
    bookings: usize,
    duration: Duration,
    in_flight: usize,
) -> Result<f64> {
    let body = parcel(bookings)?;
    let (exchange, key) = (topology.bookings_exchange(), topology.intake_queue());
    let properties = properties(FieldTable::default());
    let begin = Instant::now();
    let (mut confirms, mut confirmed) = (FuturesUnordered::new(), 0_usize);
    // Stops when the time is over or the queue is full, since nothing consumes from it.
    'measuring: while begin.elapsed() < duration {
        let options = BasicPublishOptions::default();
        let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
        confirms.push(channel.basic_publish(exchange, key, options, &body, properties.clone()).await?);
        while confirms.len() >= in_flight.max(1) {
            match check_confirmation(confirms.next().await.context("a confirm is missing")??) {
                Ok(()) => confirmed += bookings,
                Err(_) => break 'measuring,
            }
        }
    }
    let rate = confirmed as f64 / begin.elapsed().as_secs_f64();
    while let Some(confirm) = confirms.next().await {
        confirm?;
    }
    channel.queue_purge(topology.intake_queue().into(), QueuePurgeOptions::default()).await?;
    Ok(rate)
}

/// Publishes a message of one booking, and waits until the broker has confirmed it.
pub async fn publish_one(channel: &Channel, topology: &Topology) -> Result<()> {
    let (exchange, key) = (topology.bookings_exchange(), topology.intake_queue());
    let (options, properties) = (BasicPublishOptions::default(), properties(FieldTable::default()));
    let body = parcel(1)?;
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await?;
    Ok(check_confirmation(confirm.await?)?)
}

/// A message like those that the api publishes.
fn parcel(bookings: usize) -> Result<Vec<u8>> {
    let now = Clock::system().now();
    let mut parcel = Parcel::default();
    for number in 0..bookings {
        let request = json!({
            "userName": format!("Buyer {number}"), "userEmail": format!("buyer{number}@example.com"), "seatIds": [number + 1],
        });
        let ticket = Ticket { id: TicketId(Uuid::from_u128(rand::random())), deadline: now };
        let envelope = Envelope {
            ticket,
            idempotency_key: None,
            request: serde_json::from_value(request)?,
            trace: None,
        };
        parcel.push(&envelope.encode());
    }
    Ok(parcel.encode())
}

/// Deletes the queues and exchanges. RabbitMQ 3.10 sometimes closes the connection with `INTERNAL_ERROR` when a queue
/// is deleted just after the queue whose dead letters it receives. A second attempt shortly afterwards succeeds.
async fn clean_up(broker: &Broker, channel: &Channel) -> Result<()> {
    if remove(channel, broker.topology()).await.is_ok() {
        return Ok(());
    }
    Backoff::new(DELETION, DELETION).pause().await;
    let connection = broker.connect("cleaning up").await?;
    remove(&connection.create_channel().await?, broker.topology()).await
}

async fn remove(channel: &Channel, topology: &Topology) -> Result<()> {
    for queue in [topology.intake_queue(), topology.dead_queue(), topology.unrouted_queue()] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    for exchange in [
        topology.bookings_exchange(),
        topology.dead_queue(),
        topology.unrouted_queue(),
        topology.settled_exchange(),
    ] {
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    }
    Ok(())
}
