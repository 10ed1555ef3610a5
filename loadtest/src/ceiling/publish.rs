//! Publishing with confirms, to a queue like that of the intake, and nothing else: the limit of what can be accepted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hamro_shared::backoff::Backoff;
use hamro_shared::config::Env;
use hamro_shared::domain::{Clock, Ticket, TicketId};
use hamro_shared::queue::{Broker, BrokerConfig, Envelope, Parcel, Topology};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::{BasicProperties, Channel, Confirmation};
use serde_json::json;
use uuid::Uuid;

use crate::report::CeilingFigure;

/// How long the broker may take to get over a deletion.
const DELETION: Duration = Duration::from_secs(1);

pub async fn measure(mut env: Env, duration: Duration, in_flight: usize) -> Result<Vec<CeilingFigure>> {
    let url =
        env.required("AMQP_URL", "amqp://user:password@host:5672/%2f", |url| Ok::<_, ()>(url.to_owned()));
    let url = env.finish(url)?;
    // Queues of its own, declared as those of the system are.
    let prefix = format!("ceiling-{:x}.", Clock::system().now().unix_millis());
    let mut env = Env::of(&[("AMQP_URL", &url), ("QUEUE_PREFIX", &prefix)]);
    let config = BrokerConfig::read(&mut env);
    let broker = Broker::new(&env.finish(config)?, "hamro-loadtest");
    let connection = broker.connect("measuring").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let figures = figures(&channel, broker.topology(), duration, in_flight).await;
    let cleaned_up = clean_up(&broker, &channel).await;
    // Best effort: what it was for is done.
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
) -> Result<Vec<CeilingFigure>> {
    let mut figures = Vec::new();
    for bookings in [1, Parcel::MAX_BOOKINGS] {
        let what = if bookings == 1 {
            "confirmed publishing, a message a booking".to_owned()
        } else {
            format!("confirmed publishing, {bookings} bookings a message")
        };
        let bookings_per_second = rate(channel, topology, bookings, duration, in_flight).await?;
        figures.push(CeilingFigure { what, bookings_per_second });
    }
    Ok(figures)
}

/// Bookings that are confirmed a second, with so many messages on their way. One task has the channel to itself: shared,
/// it would give confirms to the wrong message.
#[expect(clippy::cast_precision_loss, reason = "for people")]
async fn rate(
    channel: &Channel,
    topology: &Topology,
    bookings: usize,
    duration: Duration,
    in_flight: usize,
) -> Result<f64> {
    let body = parcel(bookings)?;
    let (exchange, key) = (topology.bookings(), topology.intake());
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    let begin = Instant::now();
    let (mut confirms, mut confirmed) = (FuturesUnordered::new(), 0_usize);
    // Until the time is over, or the queue is full: nobody takes anything out of it.
    'measuring: while begin.elapsed() < duration {
        let options = BasicPublishOptions::default();
        let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
        confirms.push(channel.basic_publish(exchange, key, options, &body, properties.clone()).await?);
        while confirms.len() >= in_flight.max(1) {
            match confirms.next().await.context("a confirm is missing")?? {
                Confirmation::Ack(None) => confirmed += bookings,
                _ => break 'measuring,
            }
        }
    }
    let rate = confirmed as f64 / begin.elapsed().as_secs_f64();
    while let Some(confirm) = confirms.next().await {
        confirm?;
    }
    channel.queue_purge(topology.intake().into(), QueuePurgeOptions::default()).await?;
    Ok(rate)
}

/// A message as the intake makes it.
fn parcel(bookings: usize) -> Result<Vec<u8>> {
    let now = Clock::system().now();
    let mut parcel = Parcel::default();
    for number in 0..bookings {
        let request = json!({
            "userName": format!("Buyer {number}"), "userEmail": format!("buyer{number}@example.com"), "seatIds": [number + 1],
        });
        let ticket = Ticket { id: TicketId(Uuid::from_u128(rand::random())), deadline: now };
        let envelope = Envelope { ticket, idempotency_key: None, request: serde_json::from_value(request)? };
        parcel.push(&envelope.encode());
    }
    Ok(parcel.encode())
}

/// Leaves nothing behind. RabbitMQ 3.10 sometimes falls over a queue that is deleted just after the one whose dead letters it
/// takes, and ends the connection with `INTERNAL_ERROR`; a moment later it can be done.
async fn clean_up(broker: &Broker, channel: &Channel) -> Result<()> {
    if remove(channel, broker.topology()).await.is_ok() {
        return Ok(());
    }
    Backoff::new(DELETION, DELETION).pause().await;
    let connection = broker.connect("cleaning up").await?;
    remove(&connection.create_channel().await?, broker.topology()).await
}

async fn remove(channel: &Channel, topology: &Topology) -> Result<()> {
    for queue in [topology.intake(), topology.dead(), topology.unrouted()] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    for exchange in [topology.bookings(), topology.dead(), topology.unrouted(), topology.settled()] {
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    }
    Ok(())
}
