//! The server of the intake without a broker: an upper limit of the accept rate.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use hamro_api::broker::publisher::PublisherMetrics;
use hamro_api::broker::publishing_task::{InstanceReporter, Reporter, publisher};
use hamro_api::catalogue_cache::CatalogueCache;
use hamro_api::config::Config;
use hamro_api::early_rejection::EarlyRejection;
use hamro_api::http::admin_auth::AdminAuth;
use hamro_api::http::bound::{Bound, ClientShare};
use hamro_api::http::client_address::TrustedProxies;
use hamro_api::http::own_writes::OwnWrites;
use hamro_api::http::response_memory::ResponseMemory;
use hamro_api::http::sse::SseLimiter;
use hamro_api::installation::Installation;
use hamro_api::installation::reports::Reports;
use hamro_api::intake::Intake;
use hamro_api::metrics::ApiMetrics;
use hamro_api::outcomes::Outcomes;
use hamro_api::outcomes::queue_estimate::QueueEstimate;
use hamro_api::outcomes::watermark::Watermark;
use hamro_api::router::router;
use hamro_api::seat_feed::SeatFeed;
use hamro_api::seat_maps::{SeatMapMetrics, SeatMaps};
use hamro_api::server;
use hamro_api::server::admission::Admission;
use hamro_api::server::listener::BoundSocket;
use hamro_api::server::middleware::MiddlewareState;
use hamro_api::server::request_counts::RequestCounts;
use hamro_api::state::{App, AppState};
use hamro_e2e::Deployment;
use hamro_e2e::stats::print;
use hamro_shared::config::Env;
use hamro_shared::database::{Database, DatabaseClock};
use hamro_shared::domain::Clock;
use hamro_shared::queue::{RoleFailures, Topology};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use hamro_shared::telemetry::traces::Traces;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// With this argument, the program runs that server.
pub const SERVE: &str = "serve-without-broker";

/// The complete HTTP server of the intake, in a separate process. It discards the bookings.
pub struct BareServer {
    _process: Child,
    pub url: String,
}

impl BareServer {
    pub async fn start(deployment: &Deployment) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .env_clear()
            // It accepts bookings of sold seats too, for comparison with a server that refuses them.
            .envs(deployment.environment(&[("EARLY_REJECTION", "off")]))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let url = lines.next_line().await?.context("the bare server has ended")?;
        Ok(Self { _process: process, url })
    }
}

/// Runs the server in this process.
pub async fn serve() -> Result<()> {
    let config = Config::read(Env::process())?;
    let database = Database::new(config.database.sessions("bare", &[]), config.database_connections);
    let queue_estimate = QueueEstimate::new(Clock::system());
    let intake = Intake::open();
    let mut registry = MetricsRegistry::new("hamro-api");
    let metrics = ApiMetrics::register(&mut registry);
    let clock = DatabaseClock::new(Clock::system());
    let instance =
        InstanceReporter::new(&config.policy, config.shutdown, config.database_connections, clock.clone());
    let reporter = Reporter { intake: intake.clone(), metrics: metrics.clone(), instance };
    let publisher_metrics = PublisherMetrics::register(&mut registry, &metrics);
    let (publisher, publishing) =
        publisher(config.publisher, &Topology::new(""), queue_estimate.clone(), reporter, publisher_metrics);
    tokio::spawn(publishing.confirm_without_broker());
    let stop = CancellationToken::new();
    let own_writes = OwnWrites::default();
    let seat_feed = SeatFeed::new(database.clone(), own_writes.clone());
    let app = App {
        clock: Clock::system(),
        publisher,
        broker_failures: RoleFailures::default(),
        intake,
        early_rejection: EarlyRejection::new(config.early_rejection, &mut registry),
        outcomes: Outcomes::new(|_| ()),
        watermark: Watermark::new(database.clone(), Clock::system()),
        queue_estimate,
        catalogue: CatalogueCache::new(database.clone(), own_writes.clone()),
        seat_maps: SeatMaps::new(seat_feed.clone(), SeatMapMetrics::default()),
        seat_feed,
        own_writes,
        response_memory: ResponseMemory::default(),
        sse_limiter: SseLimiter::new(
            Bound::new(1, ClientShare::WHOLE),
            config.http.stream_max_age,
            stop.clone(),
        ),
        body_timeout: config.http.body_timeout,
        waits: Bound::new(u64::MAX, ClientShare::WHOLE),
        draining: stop.clone(),
        stopping: stop.clone(),
        schema_ready: watch::channel(true).1,
        database_clock: clock,
        policy: config.policy,
        admin_auth: Arc::new(AdminAuth::new(config.admin, TrustedProxies::default())),
        metrics,
        installation: Installation::new(Clock::system()),
        reports: Reports::new(database.clone()),
        database,
        traces: Traces::default(),
    };
    let listener = BoundSocket::bind(config.http.address)?.listen()?;
    print(format!("http://{}", listener.local_addr()?));
    let counts = RequestCounts::register(&mut registry, &app.metrics);
    let middleware = MiddlewareState { counts: counts.clone(), ..MiddlewareState::default() };
    let router = router(AppState::new(app), &config.http, middleware, registry.finish());
    let admission = Admission::new(&config.http, counts);
    let last_responses = config.shutdown.total;
    server::serve(listener, router, config.http, admission, last_responses, stop.clone(), stop).await
}
