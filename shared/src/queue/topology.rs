//! The exchanges and queues. Every process declares all of them on every connection, unless an administrator does.
//!
//! ```text
//!  bookings ──direct──▶ bookings.intake ──delivery limit──▶ bookings.dead ──fanout──▶ bookings.dead
//!     └── no queue bound ──▶ bookings.unrouted ──fanout──▶ bookings.unrouted
//!  bookings.settled ──fanout──┬──▶ one exclusive queue for each api instance
//!  bookings.heartbeats ─fanout┘
//! ```
//!
//! The worker's poison isolator consumes `bookings.dead`, and its unrouted forwarder `bookings.unrouted`.
//!
//! The arguments are constants, not settings: a declaration with other arguments than the existing queue's fails (406),
//! so two processes with different settings could not run together.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use serde_json::{Map, Value};

use super::refusal::{Operation, TopologyError};

/// The limit of the intake queue: about three million bookings, far more than can be settled within their deadline.
/// Beyond it the broker rejects messages (`reject-publish`), and the api responds with 503.
pub const INTAKE_MAX_BYTES: i64 = 1 << 30;

/// How often a parcel may be redelivered before the broker moves it to `bookings.dead`. When a worker dies, the broker
/// redelivers every parcel that it had sent to the worker.
const DELIVERY_LIMIT: i64 = 20;

/// The delivery limit of the other queues, which have no dead-letter exchange. By default RabbitMQ 4 drops a message
/// that was redelivered more than 20 times. RabbitMQ 3.10 has no value for "unlimited", hence a number that is never
/// reached.
const UNREACHABLE_DELIVERY_LIMIT: i64 = 1_000_000;

/// Announcements that wait for one api instance. Beyond this the broker drops the oldest, since the database has them
/// all.
const SETTLED_MAX_LENGTH: i64 = 10_000;

/// What the broker counts of a queue. It counts nothing while the leader of a quorum queue does not respond within 250 ms,
/// or is being elected (`rabbit_quorum_queue:stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub messages: u32,
    pub consumers: u32,
}

/// The names and declarations of all exchanges and queues.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
}

impl Topology {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The exchange that the api publishes bookings to, with the name of the intake queue as the routing key.
    pub fn bookings_exchange(&self) -> String {
        self.name("bookings")
    }

    pub fn intake_queue(&self) -> String {
        self.name("bookings.intake")
    }

    /// The queue of parcels that exceeded their delivery limit. The fanout exchange that feeds it has the same name.
    pub fn dead_queue(&self) -> String {
        self.name("bookings.dead")
    }

    /// The queue of parcels that reached no other queue. The fanout exchange that feeds it has the same name.
    pub fn unrouted_queue(&self) -> String {
        self.name("bookings.unrouted")
    }

    /// The exchange that workers announce outcomes on.
    pub fn settled_exchange(&self) -> String {
        self.name("bookings.settled")
    }

    /// The exchange that workers and api instances send heartbeats to. Separate from the announcements, because api
    /// instances of earlier versions would log each heartbeat as an unreadable announcement.
    pub fn heartbeats_exchange(&self) -> String {
        self.name("bookings.heartbeats")
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A regular expression that matches the names of everything that a process uses, for RabbitMQ's permissions.
    pub fn objects_pattern(&self) -> String {
        // A QUEUE_PREFIX is a part of a name, in which these characters have no other meaning.
        let mut prefix = String::new();
        for char in self.prefix.chars() {
            if char.is_ascii_punctuation() && !matches!(char, '-' | '_') {
                prefix.push('\\');
            }
            prefix.push(char);
        }
        format!(r"^({prefix}bookings(\..*)?|amq\.(default|gen-.*))$")
    }

    /// Looks for all exchanges and queues, which needs no rights. Fails at the first that is missing.
    pub async fn verify(&self, channel: &Channel) -> Result<(), TopologyError> {
        for (name, kind) in [
            (self.dead_queue(), ExchangeKind::Fanout),
            (self.unrouted_queue(), ExchangeKind::Fanout),
            (self.bookings_exchange(), ExchangeKind::Direct),
            (self.settled_exchange(), ExchangeKind::Fanout),
            (self.heartbeats_exchange(), ExchangeKind::Fanout),
        ] {
            let operation = Operation::LookFor(format!("exchange {name}"));
            let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let found = channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await;
            found.map_err(|error| TopologyError { operation, error })?;
        }
        for name in [self.dead_queue(), self.unrouted_queue(), self.intake_queue()] {
            let operation = Operation::LookFor(format!("queue {name}"));
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let found = channel.queue_declare(name.into(), options, FieldTable::default()).await;
            found.map_err(|error| TopologyError { operation, error })?;
        }
        Ok(())
    }

    pub async fn declare(&self, channel: &Channel) -> Result<(), TopologyError> {
        self.exchange(channel, self.dead_queue(), ExchangeKind::Fanout, FieldTable::default()).await?;
        self.queue(channel, self.dead_queue(), never_dead_letter()).await?;
        self.bind(channel, self.dead_queue(), self.dead_queue()).await?;

        // Publishing is pipelined, so a `mandatory` return could not be matched to its message. The alternate exchange
        // keeps messages that reach no queue instead.
        self.exchange(channel, self.unrouted_queue(), ExchangeKind::Fanout, FieldTable::default()).await?;
        self.queue(channel, self.unrouted_queue(), never_dead_letter()).await?;
        self.bind(channel, self.unrouted_queue(), self.unrouted_queue()).await?;

        let mut alternate = FieldTable::default();
        alternate.insert("alternate-exchange".into(), text(self.unrouted_queue()));
        self.exchange(channel, self.bookings_exchange(), ExchangeKind::Direct, alternate).await?;
        self.queue(channel, self.intake_queue(), self.intake_arguments()).await?;
        self.bind(channel, self.intake_queue(), self.bookings_exchange()).await?;

        for exchange in [self.settled_exchange(), self.heartbeats_exchange()] {
            self.exchange(channel, exchange, ExchangeKind::Fanout, FieldTable::default()).await?;
        }
        Ok(())
    }

    fn intake_arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(INTAKE_MAX_BYTES));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), text(self.dead_queue()));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments
    }

    /// The arguments with which each queue is declared, as the management API of RabbitMQ shows them.
    pub fn queue_arguments(&self) -> [(String, Map<String, Value>); 3] {
        [
            (self.intake_queue(), as_json(self.intake_arguments())),
            (self.dead_queue(), as_json(never_dead_letter())),
            (self.unrouted_queue(), as_json(never_dead_letter())),
        ]
    }

    /// Declares a queue that is exclusive to this connection and receives every announcement from now on. Returns its
    /// name.
    pub async fn subscribe_to_settled(&self, channel: &Channel) -> Result<String, TopologyError> {
        let mut limits = FieldTable::default();
        limits.insert("x-max-length".into(), AMQPValue::LongLongInt(SETTLED_MAX_LENGTH));
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, limits).await;
        // The name is RabbitMQ's, and begins with amq.gen-. Only its own queue can be meant.
        let operation = Operation::Declare("the queue of announcements".to_owned());
        let queue = queue.map_err(|error| TopologyError { operation, error })?;
        self.bind(channel, queue.name().to_string(), self.settled_exchange()).await?;
        Ok(queue.name().to_string())
    }

    /// Makes a queue of announcements receive heartbeats too. A worker sends both through one channel, so they arrive
    /// in the order in which it sent them.
    pub async fn add_heartbeats(&self, channel: &Channel, queue: &str) -> Result<(), TopologyError> {
        self.bind(channel, queue.to_owned(), self.heartbeats_exchange()).await
    }

    /// The number of messages in the intake queue, without those that were delivered to a worker.
    pub async fn waiting_messages(&self, channel: &Channel) -> Result<u32, lapin::Error> {
        self.counted(channel).await.map(|counted| counted.messages)
    }

    /// What the broker counts of the intake queue, of the messages without those that were delivered to a worker.
    pub async fn counted(&self, channel: &Channel) -> Result<Counted, lapin::Error> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(self.intake_queue().into(), options, FieldTable::default()).await?;
        Ok(Counted { messages: queue.message_count(), consumers: queue.consumer_count() })
    }

    async fn exchange(
        &self,
        channel: &Channel,
        name: String,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), TopologyError> {
        let operation = Operation::Declare(format!("exchange {name}"));
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = channel.exchange_declare(name.into(), kind, options, arguments).await;
        declared.map_err(|error| TopologyError { operation, error })
    }

    /// Declares a durable quorum queue, which survives the loss of a node in a cluster of three or more.
    async fn queue(
        &self,
        channel: &Channel,
        name: String,
        mut arguments: FieldTable,
    ) -> Result<(), TopologyError> {
        let operation = Operation::Declare(format!("queue {name}"));
        arguments.insert("x-queue-type".into(), text("quorum"));
        let declared = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await;
        declared.map(drop).map_err(|error| TopologyError { operation, error })
    }

    async fn bind(&self, channel: &Channel, queue: String, exchange: String) -> Result<(), TopologyError> {
        let (key, operation) = (queue.clone(), Operation::Bind(queue.clone()));
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| TopologyError { operation, error })
    }
}

/// The arguments of a quorum queue as JSON.
fn as_json(arguments: FieldTable) -> Map<String, Value> {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        other => unreachable!("no queue has an argument such as {other:?}"),
    };
    let own = arguments.inner().iter().map(|(name, argument)| (name.to_string(), value(argument)));
    own.chain([("x-queue-type".to_owned(), Value::from("quorum"))]).collect()
}

fn never_dead_letter() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(UNREACHABLE_DELIVERY_LIMIT));
    arguments
}

fn text(value: impl Into<String>) -> AMQPValue {
    AMQPValue::LongString(value.into().into())
}
