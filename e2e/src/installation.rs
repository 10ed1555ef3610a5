//! An installation of its own for each test: a database, a set of queues, and processes that use them.

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

/// Who the bookings are for that the tests send behind all others.
pub const MARKER: &str = "marker";

const TICKET_KEY: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

/// A ticket as an instance of the api would issue it, and a booking under it.
pub fn envelope(customer: &str, seats: &[i64]) -> Result<Envelope> {
    let now = Clock::system().now();
    let request = serde_json::from_value(booking(customer, seats))?;
    let ticket =
        Ticket { id: TicketKeys::parse(TICKET_KEY)?.issue(now), deadline: now + Duration::from_mins(15) };
    Ok(Envelope { ticket, idempotency_key: None, request })
}

/// What to start.
pub struct Setup {
    pub apis: usize,
    pub workers: usize,
    /// Settings on top of those that every process needs.
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
    /// Whether the processes have reason to log errors. Where they have none, one is a fault, even if it passes.
    pub expects_errors: bool,
    /// Whether bookings may be left in the queue that nobody will settle.
    pub expects_leftovers: bool,
    broker: Broker,
    pub(crate) connection: Connection,
    pub channel: Channel,
}

/// An instance of the api, and how to talk to it.
pub struct Api {
    pub process: Process,
    pub client: Client,
}

impl Installation {
    /// Starts everything, and waits until it is ready.
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

    /// An empty database and a set of names for queues, and no process yet.
    pub async fn prepare(setup: &Setup) -> Result<Self> {
        let name = format!("e2e_{}", Uuid::from_u128(rand::random()).simple());
        let server: PgConnectOptions = outer("DATABASE_URL")?.parse()?;
        let mut connection = server.connect().await.context("connecting to DATABASE_URL")?;
        // The name is ours: letters and digits.
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

    /// Starts an instance of the api and waits until it is ready. Returns its number.
    pub async fn start_api(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.launch_api(variables).await?;
        self.apis[number].client.wait_until_ready().await?;
        Ok(number)
    }

    /// Starts an instance of the api and waits until it listens. Returns its number.
    pub async fn launch_api(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.apis.len();
        let mut process =
            Process::start(&format!("api-{number}"), "hamro-api", &[], &self.environment(variables))?;
        let url = process.line_after("listening on ").await?;
        self.apis.push(Api { process, client: Client::new(&url) });
        Ok(number)
    }

    /// Starts a worker and waits until it consumes. Returns its number.
    pub async fn start_worker(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.workers.len();
        let name = format!("worker-{number}");
        let mut process = Process::start(&name, "hamro-worker", &[], &self.environment(variables))?;
        process.line_after("consuming from ").await?;
        self.workers.push(process);
        Ok(number)
    }

    /// Kills a worker.
    pub async fn kill_worker(&mut self, number: usize) -> Result<()> {
        let mut killed = self.workers.remove(number);
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        Ok(())
    }

    /// What its database is called, and nothing else.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings of a process of this installation, with some of them changed.
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

    /// Messages that wait in the intake queue, those that a worker holds not counted.
    pub async fn waiting_messages(&self) -> Result<u32> {
        Ok(self.topology.waiting_messages(&self.channel).await?)
    }

    /// Stops the apis as an operator would, and checks that each left well.
    pub async fn stop_apis(&mut self) -> Result<()> {
        for mut api in std::mem::take(&mut self.apis) {
            self.stop(&mut api.process).await?;
        }
        Ok(())
    }

    /// Stops one worker likewise.
    pub async fn stop_worker(&mut self, number: usize) -> Result<()> {
        let mut worker = self.workers.remove(number);
        self.stop(&mut worker).await
    }

    /// Stops the workers likewise.
    pub async fn stop_workers(&mut self) -> Result<()> {
        for mut worker in std::mem::take(&mut self.workers) {
            self.stop(&mut worker).await?;
        }
        Ok(())
    }

    /// Stops every process as an operator would, checks that each left well, that nothing is left in any queue and that
    /// the books balance, and removes the database and the queues.
    pub async fn close(mut self) -> Result<()> {
        self.stop_apis().await?;
        self.retire_workers().await?;
        ledger::check(&self.pool).await?;
        for queue in [self.topology.intake(), self.topology.dead(), self.topology.unrouted()] {
            let left =
                self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
            ensure!(left == 0 || self.expects_leftovers, "{left} messages are left in {queue}");
        }
        self.remove().await
    }

    /// Kills every process and removes the database and the queues, whatever is in them.
    pub async fn abandon(mut self) -> Result<()> {
        self.apis.clear();
        self.workers.clear();
        for queue in [self.topology.intake(), self.topology.dead(), self.topology.unrouted()] {
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        self.remove().await
    }

    async fn remove(self) -> Result<()> {
        for exchange in [
            self.topology.bookings(),
            self.topology.dead(),
            self.topology.unrouted(),
            self.topology.settled(),
        ] {
            self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        self.connection.close(200, "done".into()).await?;
        self.drop_database().await
    }

    /// Stops the workers likewise, once everything that is in the queue has been settled.
    pub async fn retire_workers(&mut self) -> Result<()> {
        // What a worker has not begun goes back into the queue; the last one gets it all.
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
        ensure!(status.success(), "{} left with {status}:\n{}", process.name, process.printed());
        let errors = process.printed().contains(" ERROR ");
        ensure!(self.expects_errors || !errors, "{} met an error:\n{}", process.name, process.printed());
        Ok(())
    }

    /// Publishes this parcel as the intake would, and waits until the broker has it.
    pub async fn publish(&self, parcel: &[u8]) -> Result<()> {
        let (exchange, key) = (self.topology.bookings(), self.topology.intake());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let confirm =
            self.channel.basic_publish(exchange.into(), key.into(), options, parcel, properties).await?;
        ensure!(confirm.await? == Confirmation::Ack(None), "the broker refused a parcel");
        Ok(())
    }

    /// Waits until everything that is in the queue now has been settled, where one worker is left to do it: sends a
    /// booking behind it, for a seat that does not exist.
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

    /// Locks a seat, until the transaction is over.
    pub async fn hold_seat(&self, seat: i64) -> Result<Transaction<'static, Postgres>> {
        let mut holder = self.pool.begin().await?;
        sqlx::query("SELECT FROM seats WHERE id = $1 FOR UPDATE")
            .bind(i32::try_from(seat)?)
            .execute(&mut *holder)
            .await?;
        Ok(holder)
    }

    /// Waits until a worker waits for a lock that somebody else holds.
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

    /// The address of the broker for connections that count as lost after about twice so many seconds of silence.
    pub fn broker_with_heartbeat(seconds: u16) -> Result<String> {
        Ok(format!("{}?heartbeat={seconds}", outer("AMQP_URL")?))
    }

    /// Connects anew to the broker, after it was away.
    pub async fn reconnect(&mut self) -> Result<()> {
        (self.connection, self.channel) = connect(&self.broker).await?;
        Ok(())
    }

    /// From here on no api instance hears of what is settled.
    pub async fn lose_announcements(&mut self) -> Result<()> {
        // The workers are told that their exchange has gone, again and again.
        self.expects_errors = true;
        let options = ExchangeDeleteOptions::default();
        Ok(self.channel.exchange_delete(self.topology.settled().into(), options).await?)
    }

    /// Tells the api instances that a ticket was settled which nobody has, issued at this moment.
    pub async fn announce_another(&self) -> Result<()> {
        let ticket = envelope("nobody", &[1])?.ticket.id;
        let another =
            SettledTicket { ticket_id: ticket, settled_at: ticket.issued_at(), outcome: Outcome::Expired };
        let message = SettledEvent { tickets: vec![another], bookings: 1, parcels: 1 };
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let exchange = self.topology.settled().into();
        self.channel
            .basic_publish(exchange, "".into(), options, &message.encode(), properties)
            .await?
            .await?;
        Ok(())
    }
}

impl Drop for Installation {
    /// A test that fails does not get to `close`: it shows what the processes had to say.
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

/// A variable that names one of the servers that the tests run against.
#[expect(clippy::disallowed_methods, reason = "the servers of the tests are settings of the tests")]
pub(crate) fn outer(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run the tests by `make test`"))
}
