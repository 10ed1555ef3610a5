//! An isolated installation per test: a database, a set of queues, and processes that use them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_shared::config::Env;
use hamro_shared::domain::{Clock, Outcome, SettledTicket, Ticket, TicketKeys};
use hamro_shared::queue::{Broker, BrokerConfig, Envelope, Parcel, SettledEvent, Topology};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use nix::sys::signal::Signal;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Postgres, Transaction};
use uuid::Uuid;

use crate::client::booking;
use crate::process::Process;
use crate::{Client, ledger, wait_until};

pub const ADMIN_TOKEN: &str = "a-token-for-tests-only";

/// Customer name of the bookings that the tests publish to detect when the queue is drained.
pub const MARKER: &str = "marker";

const TICKET_KEY: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

/// A booking with a valid ticket, as the api would publish it.
pub fn envelope(customer: &str, seats: &[i64]) -> Result<Envelope> {
    let now = Clock::system().now();
    let request = serde_json::from_value(booking(customer, seats))?;
    let ticket =
        Ticket { id: TicketKeys::parse(TICKET_KEY)?.issue(now), deadline: now + Duration::from_mins(15) };
    Ok(Envelope { ticket, idempotency_key: None, request })
}

/// The processes to start.
pub struct Setup {
    pub apis: usize,
    pub workers: usize,
    /// Settings in addition to those that every process needs.
    pub variables: Vec<(&'static str, &'static str)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { apis: 1, workers: 1, variables: Vec::new() }
    }
}

/// A running installation.
pub struct Installation {
    name: String,
    variables: Vec<(String, String)>,
    pub apis: Vec<Api>,
    pub workers: Vec<Process>,
    pub pool: PgPool,
    pub topology: Topology,
    /// Whether the processes may log errors. Otherwise a logged error fails the test, even if the process recovered.
    pub expects_errors: bool,
    /// Whether messages may be left in the queues at the end.
    pub expects_leftovers: bool,
    broker: Broker,
    pub(crate) connection: Connection,
    pub channel: Channel,
}

/// An instance of the api, with a client.
pub struct Api {
    pub process: Process,
    pub client: Client,
}

impl Installation {
    /// Starts all processes, and waits until they are ready.
    pub async fn start(setup: Setup) -> Result<Self> {
        let mut installation = Self::prepare(&setup).await?;
        for _ in 0..setup.apis {
            installation.start_api(&[]).await?;
        }
        for _ in 0..setup.workers {
            installation.start_worker(&[]).await?;
        }
        Ok(installation)
    }

    /// Creates an empty database and chooses a prefix for queues, but starts no process.
    pub async fn prepare(setup: &Setup) -> Result<Self> {
        let name = format!("e2e_{}", Uuid::from_u128(rand::random()).simple());
        let server: PgConnectOptions = outer("DATABASE_URL")?.parse()?;
        let mut connection = server.connect().await.context("connecting to DATABASE_URL")?;
        // The name was generated above and has only letters, digits and underscores.
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(server.clone().database(&name));

        let amqp_url = outer("AMQP_URL")?;
        let prefix = format!("{name}.");
        let mut env = Env::of(&[("AMQP_URL", &amqp_url), ("QUEUE_PREFIX", &prefix)]);
        let config = BrokerConfig::read(&mut env);
        let broker = Broker::new(&env.finish(config)?, "hamro-e2e");
        let topology = broker.topology().clone();
        let (connection, channel) = connect(&broker).await?;

        let mut variables: Vec<(String, String)> = [
            ("DATABASE_URL", server.database(&name).to_url_lossy().as_str()),
            ("AMQP_URL", &amqp_url),
            ("QUEUE_PREFIX", &prefix),
            ("TICKET_KEYS", TICKET_KEY),
            ("ADMIN_TOKEN", ADMIN_TOKEN),
            ("PORT", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        variables.extend(setup.variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self {
            name,
            variables,
            apis: Vec::new(),
            workers: Vec::new(),
            pool,
            topology,
            expects_errors: false,
            expects_leftovers: false,
            broker,
            connection,
            channel,
        })
    }

    /// Starts an instance of the api and waits until it is ready. Returns its index.
    pub async fn start_api(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.launch_api(variables).await?;
        self.apis[number].client.wait_until_ready().await?;
        Ok(number)
    }

    /// Starts an instance of the api and waits until it listens. Returns its index.
    pub async fn launch_api(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.apis.len();
        let mut process =
            Process::start(&format!("api-{number}"), "hamro-api", &[], &self.environment(variables))?;
        let url = process.line_after("listening on ").await?;
        self.apis.push(Api { process, client: Client::new(&url) });
        Ok(number)
    }

    /// Starts a worker and waits until it consumes. Returns its index.
    pub async fn start_worker(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.workers.len();
        let name = format!("worker-{number}");
        let mut process = Process::start(&name, "hamro-worker", &[], &self.environment(variables))?;
        process.line_after("consuming from ").await?;
        self.workers.push(process);
        Ok(number)
    }

    /// Kills a worker with SIGKILL.
    pub async fn kill_worker(&mut self, number: usize) -> Result<()> {
        let mut killed = self.workers.remove(number);
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        Ok(())
    }

    /// The name of the database, which is unique to this installation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The environment of a process of this installation, with these changes.
    pub fn environment(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut variables = self.variables.clone();
        variables.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        variables.extend(changes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        variables
    }

    /// A client of the first api.
    pub fn client(&self) -> &Client {
        &self.apis[0].client
    }

    /// The number of messages in the intake queue, without those that were delivered to a worker.
    pub async fn waiting_messages(&self) -> Result<u32> {
        Ok(self.topology.waiting_messages(&self.channel).await?)
    }

    /// Stops the api instances with SIGTERM, and checks that each exits successfully.
    pub async fn stop_apis(&mut self) -> Result<()> {
        for mut api in std::mem::take(&mut self.apis) {
            self.stop(&mut api.process).await?;
        }
        Ok(())
    }

    /// Stops one worker in the same way.
    pub async fn stop_worker(&mut self, number: usize) -> Result<()> {
        let mut worker = self.workers.remove(number);
        self.stop(&mut worker).await
    }

    /// Stops the workers in the same way.
    pub async fn stop_workers(&mut self) -> Result<()> {
        for mut worker in std::mem::take(&mut self.workers) {
            self.stop(&mut worker).await?;
        }
        Ok(())
    }

    /// Stops every process with SIGTERM. Checks that each exits successfully, that the queues are empty and that the
    /// database is consistent. Then removes the database and the queues.
    pub async fn close(mut self) -> Result<()> {
        self.stop_apis().await?;
        self.retire_workers().await?;
        ledger::check(&self.pool).await?;
        for queue in
            [self.topology.intake_queue(), self.topology.dead_queue(), self.topology.unrouted_queue()]
        {
            let left =
                self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
            ensure!(left == 0 || self.expects_leftovers, "{queue} still has {left} messages");
        }
        self.remove().await
    }

    /// Kills every process, and removes the database and the queues without any check.
    pub async fn abandon(mut self) -> Result<()> {
        self.apis.clear();
        self.workers.clear();
        for queue in
            [self.topology.intake_queue(), self.topology.dead_queue(), self.topology.unrouted_queue()]
        {
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        self.remove().await
    }

    async fn remove(self) -> Result<()> {
        for exchange in [
            self.topology.bookings_exchange(),
            self.topology.dead_queue(),
            self.topology.unrouted_queue(),
            self.topology.settled_exchange(),
        ] {
            self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        self.connection.close(200, "done".into()).await?;
        self.drop_database().await
    }

    /// Stops the workers once everything in the queue has been settled.
    pub async fn retire_workers(&mut self) -> Result<()> {
        // Parcels that a worker has not started return to the queue. The last worker settles all of them.
        let mut last = self.workers.pop();
        self.stop_workers().await?;
        if let Some(last) = &mut last {
            self.drained().await.with_context(|| format!("the last worker:\n{}", last.printed()))?;
            self.stop(last).await?;
        }
        Ok(())
    }

    async fn stop(&self, process: &mut Process) -> Result<()> {
        process.signal(Signal::SIGTERM)?;
        let status = process.ended().await?;
        ensure!(status.success(), "{} ended with {status}:\n{}", process.name, process.printed());
        let errors = process.printed().contains(" ERROR ");
        ensure!(self.expects_errors || !errors, "{} logged an error:\n{}", process.name, process.printed());
        Ok(())
    }

    /// Publishes this parcel as the api would, and waits for the confirm.
    pub async fn publish(&self, parcel: &[u8]) -> Result<()> {
        let (exchange, key) = (self.topology.bookings_exchange(), self.topology.intake_queue());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let confirm =
            self.channel.basic_publish(exchange.into(), key.into(), options, parcel, properties).await?;
        ensure!(confirm.await? == Confirmation::Ack(None), "the broker did not accept a parcel");
        Ok(())
    }

    /// Waits until everything that is in the queue now has been settled. Requires that only one worker consumes: this
    /// publishes a booking for a seat that does not exist, and waits until it is settled.
    pub async fn drained(&self) -> Result<()> {
        let marker = envelope(MARKER, &[i64::from(i32::MAX)])?;
        let ticket = marker.ticket.id.0;
        let mut parcel = Parcel::default();
        parcel.push(&marker.encode());
        self.publish(&parcel.encode()).await?;
        wait_until("the queue is drained", async || {
            let settled: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT FROM bookings WHERE ticket_id = $1)")
                    .bind(ticket)
                    .fetch_one(&self.pool)
                    .await?;
            Ok(settled.then_some(()))
        })
        .await
    }

    /// Locks a seat until the returned transaction ends.
    pub async fn hold_seat(&self, seat: i64) -> Result<Transaction<'static, Postgres>> {
        let mut holder = self.pool.begin().await?;
        sqlx::query("SELECT FROM seats WHERE id = $1 FOR UPDATE")
            .bind(i32::try_from(seat)?)
            .execute(&mut *holder)
            .await?;
        Ok(holder)
    }

    /// Waits until a worker waits for a database lock.
    pub async fn worker_waits_for_a_lock(&self) -> Result<()> {
        wait_until("a worker waits for a lock", async || {
            let waiting: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database() AND application_name LIKE 'hamro-worker%')",
            )
            .fetch_one(&self.pool)
            .await?;
            Ok(waiting.then_some(()))
        })
        .await
    }

    async fn drop_database(&self) -> Result<()> {
        self.pool.close().await;
        let server: PgConnectOptions = outer("DATABASE_URL")?.parse()?;
        let mut connection = server.connect().await?;
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// The broker's URL with a heartbeat interval. A connection counts as lost after about two intervals of silence.
    pub fn broker_with_heartbeat(seconds: u16) -> Result<String> {
        Ok(format!("{}?heartbeat={seconds}", outer("AMQP_URL")?))
    }

    /// Reconnects to the broker after an outage.
    pub async fn reconnect(&mut self) -> Result<()> {
        (self.connection, self.channel) = connect(&self.broker).await?;
        Ok(())
    }

    /// Makes all announcements fail from here on, by deleting their exchange.
    pub async fn lose_announcements(&mut self) -> Result<()> {
        // The workers log the missing exchange repeatedly.
        self.expects_errors = true;
        let options = ExchangeDeleteOptions::default();
        Ok(self.channel.exchange_delete(self.topology.settled_exchange().into(), options).await?)
    }

    /// Announces the outcome of a ticket that was issued just now and that no client has.
    pub async fn announce_another(&self) -> Result<()> {
        let ticket = envelope("nobody", &[1])?.ticket.id;
        let another =
            SettledTicket { ticket_id: ticket, settled_at: ticket.issued_at(), outcome: Outcome::Expired };
        let message = SettledEvent { tickets: vec![another], bookings: 1, parcels: 1 };
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let exchange = self.topology.settled_exchange().into();
        self.channel
            .basic_publish(exchange, "".into(), options, &message.encode(), properties)
            .await?
            .await?;
        Ok(())
    }
}

impl Drop for Installation {
    /// Prints the output of the processes, unless `close` was reached.
    fn drop(&mut self) {
        if std::thread::panicking() || !self.apis.is_empty() || !self.workers.is_empty() {
            let processes = self.apis.iter().map(|api| &api.process).chain(&self.workers);
            for process in processes {
                eprintln!("--- {}\n{}", process.name, process.printed());
            }
        }
    }
}

async fn connect(broker: &Broker) -> Result<(Connection, Channel)> {
    let connection = broker.connect("testing").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Reads a setting of the tests themselves, such as the address of a server.
#[expect(clippy::disallowed_methods, reason = "the settings of the tests come from the environment")]
pub(crate) fn outer(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run the tests with `make test`"))
}
