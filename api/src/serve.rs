//! Wires what serves requests together, and runs it.

mod tasks;

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use hamro_api::broker::fallback_runtime;
use hamro_api::broker::publisher::PublisherMetrics;
use hamro_api::broker::publishing_task::{InstanceReporter, Reporter, publisher};
use hamro_api::canary::{CanaryMetrics, OwnHttp};
use hamro_api::catalogue_cache::CatalogueCache;
use hamro_api::config::{Config, DATABASE_SESSION};
use hamro_api::early_rejection::EarlyRejection;
use hamro_api::http::admin_auth::AdminAuth;
use hamro_api::http::bound::Bound;
use hamro_api::http::bound_metrics::register_bounds;
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
use hamro_api::server::admission::Admission;
use hamro_api::server::config::HttpConfig;
use hamro_api::server::listener::BoundSocket;
use hamro_api::server::middleware::MiddlewareState;
use hamro_api::server::rate_limit::RateLimit;
use hamro_api::server::request_counts::RequestCounts;
use hamro_api::state::{App, AppState};
use hamro_api::{health, server, startup_migration};
use hamro_shared::database::{Database, DatabaseClock};
use hamro_shared::domain::Clock;
use hamro_shared::lifecycle::{Lifecycle, ShutdownLimits};
use hamro_shared::process_name::process_name;
use hamro_shared::queue::Broker;
use hamro_shared::telemetry::metrics::MetricsRegistry;
use hamro_shared::telemetry::{self, traces};
use tokio::sync::watch;

/// The share of the time after the drain in which clients may read their last responses. In the rest of it, the tasks
/// that handlers depend on stop in order.
const LAST_RESPONSES_SHARE: f64 = 0.75;

/// Serves until a signal or a failure ends the process.
pub async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let logging = telemetry::start(&config.telemetry, config.log_ids.clone())?;
    let (traces, trace_export) = traces::start(&config.traces, "hamro-api", config.log_ids)?;
    let socket = BoundSocket::bind(config.http.address)?;
    let metrics_listener = config.metrics.bind().await?;
    fallback_runtime::start();
    let mut lifecycle = Lifecycle::new()?;

    let process = process_name("hamro-api");
    let sessions = config.database.sessions(&process, DATABASE_SESSION);
    let database = Database::new(sessions, config.database_connections);
    let database_clock = DatabaseClock::new(Clock::system());
    let broker = Broker::new(&config.broker, &process);
    let mut registry = MetricsRegistry::new("hamro-api");
    logging.register_metrics(&mut registry);
    trace_export.register(&mut registry);
    broker.register_metrics(&mut registry);
    let metrics = ApiMetrics::register(&mut registry);
    let queue_estimate = QueueEstimate::new(database_clock.clock());
    let intake = Intake::new(queue_estimate.process());
    intake.register(&mut registry);
    let connections = config.database_connections;
    let instance =
        InstanceReporter::new(&config.policy, config.shutdown, connections, database_clock.clone());
    let reporter = Reporter { intake: intake.clone(), metrics: metrics.clone(), instance };
    let publisher_metrics = PublisherMetrics::register(&mut registry, &metrics);
    let (publisher, publishing_task) =
        publisher(config.publisher, broker.topology(), queue_estimate.clone(), reporter, publisher_metrics);
    let (schema_ready_sender, schema_ready) = watch::channel(false);
    let canary_metrics = CanaryMetrics::register(&mut registry, config.canary.every);
    let own_writes = OwnWrites::default();
    let seat_feed = SeatFeed::new(database.clone(), own_writes.clone());
    let catalogue = CatalogueCache::new(database.clone(), own_writes.clone());
    let outcomes = Outcomes::new({
        let (seat_feed, catalogue) = (seat_feed.clone(), catalogue.clone());
        move |booking| {
            seat_feed.on_sale(booking);
            catalogue.note_sales();
        }
    });
    let state = AppState::new(App {
        clock: database_clock.clock(),
        publisher,
        broker_failures: broker.failures(),
        intake,
        early_rejection: EarlyRejection::new(config.early_rejection, &mut registry),
        outcomes,
        watermark: Watermark::new(database.clone(), database_clock.clock()),
        queue_estimate,
        catalogue,
        seat_maps: SeatMaps::new(seat_feed.clone(), SeatMapMetrics::register(&mut registry)),
        seat_feed,
        own_writes,
        response_memory: response_memory(&config.http),
        sse_limiter: sse_limiter(&config.http, &lifecycle),
        body_timeout: config.http.body_timeout,
        waits: Bound::new(config.http.waits_max.get().into(), config.http.client_share),
        draining: lifecycle.draining(),
        stopping: lifecycle.stopping(),
        schema_ready,
        policy: config.policy,
        admin_auth: Arc::new(AdminAuth::new(config.admin, config.http.rate_limit.trusted_proxies.clone())),
        metrics,
        installation: Installation::new(database_clock.clock()),
        reports: Reports::new(database.clone()),
        database_clock,
        database,
        traces: traces.clone(),
    });
    let middleware = MiddlewareState {
        rate_limit: RateLimit::new(&config.http.rate_limit).map(Arc::new),
        body_timeout: config.http.body_timeout,
        counts: RequestCounts::register(&mut registry, &state.metrics),
        traces,
    };
    let admission = Admission::new(&config.http, middleware.counts.clone());
    register_state(&mut registry, &state, &admission);

    // Requests in flight need these tasks until the last response is sent.
    tasks::spawn_broker_tasks(&mut lifecycle, &state, broker, publishing_task);
    tasks::spawn_database_tasks(&mut lifecycle, &state);
    tasks::spawn_middleware_tasks(&mut lifecycle, &state, &middleware);
    let sessions = config.database.sessions(&process, DATABASE_SESSION);
    tasks::spawn_retention(&mut lifecycle, &state, config.retention, sessions.clone());
    let watch_sessions = config.database.sessions(&process, DATABASE_SESSION);
    tasks::spawn_early_rejection(&mut lifecycle, &state, watch_sessions);
    let own_http = OwnHttp::new(socket.address());
    tasks::spawn_canary(&mut lifecycle, &state, &config.canary, own_http, sessions, canary_metrics);
    // Without time limits, because a migration may take long or wait for another instance's migration.
    let (sessions, ticket_keys) = (config.database.sessions(&process, &[]), state.policy.ticket_keys.clone());
    lifecycle.support("schema", |stop| {
        startup_migration::run(sessions, config.schema, ticket_keys, schema_ready_sender, stop)
    });

    let exposition = registry.finish();
    let router = router(state.clone(), &config.http, middleware, exposition.clone());
    if let Some(listener) = metrics_listener {
        lifecycle.support("metrics", |stop| listener.serve(exposition, stop));
    }
    spawn_http(&mut lifecycle, state, socket, router, config.http, admission, config.shutdown);
    let code = lifecycle.run_to_exit(config.shutdown).await;
    trace_export.finish().await;
    Ok(code)
}

/// Serves requests once the instance is ready.
fn spawn_http(
    lifecycle: &mut Lifecycle,
    state: AppState,
    socket: BoundSocket,
    router: Router,
    http: HttpConfig,
    admission: Admission,
    limits: ShutdownLimits,
) {
    let last_responses = limits.total.saturating_sub(limits.drain).mul_f64(LAST_RESPONSES_SHARE);
    let draining = lifecycle.draining();
    lifecycle.work("http", |stop| async move {
        health::ready::wait_until_started(&state).await;
        drop(state);
        server::serve(socket.listen()?, router, http, admission, last_responses, draining, stop).await
    });
}

fn response_memory(http: &HttpConfig) -> ResponseMemory {
    let trusted_proxies = http.rate_limit.trusted_proxies.clone();
    ResponseMemory::new(http.response_bytes_max.get().into(), http.client_share, trusted_proxies)
}

fn sse_limiter(http: &HttpConfig, lifecycle: &Lifecycle) -> SseLimiter {
    let streams = Bound::new(http.streams_max.get().into(), http.client_share);
    SseLimiter::new(streams, http.stream_max_age, lifecycle.draining())
}

/// Registers the metrics of what the requests share.
fn register_state(registry: &mut MetricsRegistry, state: &AppState, admission: &Admission) {
    state.database.register_metrics(registry);
    state.database.servers().register_metrics(registry);
    state.database_clock.register_metrics(registry);
    state.publisher.register_metrics(registry);
    state.queue_estimate.register_metrics(registry);
    state.policy.register_metrics(registry);
    state.watermark.register_metrics(registry);
    state.outcomes.register_metrics(registry);
    state.seat_feed.register_metrics(registry);
    state.catalogue.register_metrics(registry);
    state.seat_maps.register_metrics(registry);
    state.admin_auth.register_metrics(registry);
    register_bounds(
        registry,
        &[
            ("connections", admission.connections()),
            ("event_streams", state.sse_limiter.streams()),
            ("waits", &state.waits),
            ("response_bytes", state.response_memory.bytes()),
        ],
    );
    health::ready::register_metrics(registry, state);
}
