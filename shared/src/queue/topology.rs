//! The exchanges and queues, declared alike by every process at every connect.
//!
//! ```text
//!  bookings ──direct──▶ bookings.intake ──too often, refused──▶ bookings.dead ──fanout──▶ bookings.dead
//!     └── no queue bound ──▶ bookings.unrouted ──fanout──▶ bookings.unrouted
//!  bookings.settled ──fanout──▶ one exclusive queue for each api instance
//! ```
//!
//! The worker's reaper reads `bookings.dead`, and its rerouter `bookings.unrouted`.
//!
//! The arguments are constants: were one a setting, two processes with different settings would refuse each other's
//! declarations (406).

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// The bound of the intake queue. Past it the broker refuses (`reject-publish`), which the intake answers with 503:
/// some three million bookings, far more than can be settled within their deadline.
pub const INTAKE_MAX_BYTES: i64 = 1 << 30;

/// How often a parcel may come back before the broker takes it for poison. Every worker that dies takes one from each
/// parcel it had been sent.
const DELIVERY_LIMIT: i64 = 20;

/// The same for what is kept beside the intake queue, where nothing is behind it any more: RabbitMQ 4 drops what comes back
/// more than 20 times, unless it is told otherwise. 3.10 takes no word for "never", so this is a number that is never reached.
const UNREACHABLE_DELIVERY_LIMIT: i64 = 1_000_000;

/// Messages that wait for an api instance; beyond that the oldest are dropped, as they are only hints.
const SETTLED_MAX_LENGTH: i64 = 10_000;

/// The names of everything, and how it is declared.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
}

impl Topology {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The exchange that bookings are published to, and the routing key of the queue that the workers read.
    pub fn bookings(&self) -> String {
        self.name("bookings")
    }

    pub fn intake(&self) -> String {
        self.name("bookings.intake")
    }

    pub fn dead(&self) -> String {
        self.name("bookings.dead")
    }

    pub fn unrouted(&self) -> String {
        self.name("bookings.unrouted")
    }

    /// The exchange that workers announce outcomes on.
    pub fn settled(&self) -> String {
        self.name("bookings.settled")
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        self.exchange(channel, self.dead(), ExchangeKind::Fanout, FieldTable::default()).await?;
        self.queue(channel, self.dead(), never_dead_letter()).await?;
        self.bind(channel, self.dead(), self.dead()).await?;

        // Publishing is pipelined, where a `mandatory` return cannot be matched to its message: what finds no queue
        // is kept by the alternate exchange instead.
        self.exchange(channel, self.unrouted(), ExchangeKind::Fanout, FieldTable::default()).await?;
        self.queue(channel, self.unrouted(), never_dead_letter()).await?;
        self.bind(channel, self.unrouted(), self.unrouted()).await?;

        let mut kept = FieldTable::default();
        kept.insert("alternate-exchange".into(), text(self.unrouted()));
        self.exchange(channel, self.bookings(), ExchangeKind::Direct, kept).await?;
        let mut bounds = FieldTable::default();
        bounds.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(INTAKE_MAX_BYTES));
        bounds.insert("x-overflow".into(), text("reject-publish"));
        bounds.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        bounds.insert("x-dead-letter-exchange".into(), text(self.dead()));
        bounds.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        self.queue(channel, self.intake(), bounds).await?;
        self.bind(channel, self.intake(), self.bookings()).await?;

        self.exchange(channel, self.settled(), ExchangeKind::Fanout, FieldTable::default()).await
    }

    /// A queue of this connection alone that hears every outcome from now on. Returns its name.
    pub async fn subscribe_to_settled(&self, channel: &Channel) -> Result<String, lapin::Error> {
        let mut bounds = FieldTable::default();
        bounds.insert("x-max-length".into(), AMQPValue::LongLongInt(SETTLED_MAX_LENGTH));
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, bounds).await?;
        self.bind(channel, queue.name().to_string(), self.settled()).await?;
        Ok(queue.name().to_string())
    }

    /// How many messages wait in the intake queue; those that a worker has in hand are not counted.
    pub async fn waiting_messages(&self, channel: &Channel) -> Result<u32, lapin::Error> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(self.intake().into(), options, FieldTable::default()).await?;
        Ok(queue.message_count())
    }

    async fn exchange(
        &self,
        channel: &Channel,
        name: String,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.into(), kind, options, arguments).await
    }

    /// A durable quorum queue: it survives the loss of a broker in a cluster of three or more.
    async fn queue(
        &self,
        channel: &Channel,
        name: String,
        mut arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        arguments.insert("x-queue-type".into(), text("quorum"));
        channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(())
    }

    async fn bind(&self, channel: &Channel, queue: String, exchange: String) -> Result<(), lapin::Error> {
        let key = queue.clone();
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
    }
}

fn never_dead_letter() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(UNREACHABLE_DELIVERY_LIMIT));
    arguments
}

fn text(value: impl Into<String>) -> AMQPValue {
    AMQPValue::LongString(value.into().into())
}
