//! The limits that the intake is measured against: its own server without a broker, and a broker without a server.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hamro_api::broker::publisher::publisher;
use hamro_api::config::Config;
use hamro_api::http::large_responses::LargeResponses;
use hamro_api::http::sse::SseLimiter;
use hamro_api::outcomes::Outcomes;
use hamro_api::outcomes::queue_estimate::QueueEstimate;
use hamro_api::outcomes::watermark::Watermark;
use hamro_api::router::router;
use hamro_api::seat_feed::SeatFeed;
use hamro_api::server;
use hamro_api::server::config::HttpConfig;
use hamro_api::server::middleware::MiddlewareState;
use hamro_api::state::{App, AppState};
use hamro_e2e::Installation;
use hamro_e2e::figures::say;
use hamro_e2e::installation::envelope;
use hamro_shared::config::Env;
use hamro_shared::database::{Database, DatabaseClock};
use hamro_shared::domain::Clock;
use hamro_shared::queue::{Parcel, Topology};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The argument by which this program becomes that server.
pub const SERVE: &str = "serve-without-broker";

/// The intake's server in all its parts, in a process of its own, which takes bookings and throws them away.
pub struct BareServer {
    _process: Child,
    pub url: String,
}

impl BareServer {
    pub async fn start(installation: &Installation) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .env_clear()
            .envs(installation.environment(&[]))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let url = lines.next_line().await?.context("the bare server has ended")?;
        Ok(Self { _process: process, url })
    }
}

/// What that process does.
pub async fn serve() -> Result<()> {
    let config = Config::read(Env::process())?;
    let database = Database::new(config.database.sessions("bare", &[]), config.database_connections);
    let (publisher, publishing) = publisher(config.publisher, &Topology::new(""));
    tokio::spawn(publishing.confirm_without_broker());
    let stop = CancellationToken::new();
    let app = App {
        database: database.clone(),
        clock: Clock::system(),
        publisher,
        outcomes: Outcomes::default(),
        watermark: Watermark::new(database.clone(), Clock::system()),
        queue_estimate: QueueEstimate::default(),
        seat_feed: SeatFeed::new(database),
        large_responses: LargeResponses::default(),
        sse_limiter: SseLimiter::new(0, stop.clone()),
        stopping: stop.clone(),
        schema_ready: watch::channel(true).1,
        database_clock: DatabaseClock::new(Clock::system()),
        policy: config.policy,
    };
    let HttpConfig { cors_origin, .. } = &config.http;
    let listener = server::bind(&config.http)?;
    say(format!("http://{}", listener.local_addr()?));
    let timeouts = server::ServerTimeouts { head: config.http.head_timeout, drain: config.shutdown_timeout };
    server::serve(
        listener,
        router(AppState::new(app), cors_origin, MiddlewareState::default()),
        timeouts,
        config.http.event_streams,
        stop,
    )
    .await
}

/// Messages of one booking each that the broker confirms in a second, so many at a time.
pub async fn publish_rate(installation: &Installation, in_flight: usize, time: Duration) -> Result<f64> {
    let body = one_booking()?;
    let began = Instant::now();
    let mut confirms = FuturesUnordered::new();
    let mut confirmed = 0_u32;
    while began.elapsed() < time {
        while confirms.len() < in_flight {
            confirms.push(publish(installation, &body));
        }
        if let Some(confirm) = confirms.next().await {
            confirm?;
            confirmed += 1;
        }
    }
    let rate = f64::from(confirmed) / began.elapsed().as_secs_f64();
    while let Some(confirm) = confirms.next().await {
        confirm?;
    }
    Ok(rate)
}

/// A message of one booking, as the intake makes it when it is quiet.
pub fn one_booking() -> Result<Vec<u8>> {
    let mut parcel = Parcel::default();
    parcel.push(&envelope("buyer12345", &[12345])?.encode());
    Ok(parcel.encode())
}

pub async fn publish(installation: &Installation, body: &[u8]) -> Result<()> {
    let (exchange, key) = (installation.topology.bookings_exchange(), installation.topology.intake_queue());
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    let options = BasicPublishOptions::default();
    let confirm =
        installation.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?;
    ensure!(confirm.await? == Confirmation::Ack(None), "the broker refused a message");
    Ok(())
}
