//! The tasks that run beside the requests.

use hamro_api::broker::outcome_subscriber::OutcomeSubscriber;
use hamro_api::broker::publishing_task::PublishingTask;
use hamro_api::canary::{Canary, CanaryConfig, CanaryMetrics, OwnHttp};
use hamro_api::retention::Retention;
use hamro_api::server::middleware::MiddlewareState;
use hamro_api::state::AppState;
use hamro_api::{early_rejection, epoch_watch, intake, unfinished_releases};
use hamro_shared::database::{self, Sessions};
use hamro_shared::lifecycle::Lifecycle;
use hamro_shared::queue::{Broker, supervise};

/// Erases what the periods of retention have passed for, if there are any.
pub fn spawn_retention(
    lifecycle: &mut Lifecycle,
    state: &AppState,
    retention: Retention,
    sessions: Sessions,
) {
    if !retention.is_unlimited() {
        let schema_ready = state.schema_ready.clone();
        lifecycle
            .support("retention", |stop| hamro_api::retention::run(sessions, retention, schema_ready, stop));
    }
}

/// Keeps what is known about sold seats true, with one session of its own.
pub fn spawn_early_rejection(lifecycle: &mut Lifecycle, state: &AppState, sessions: Sessions) {
    let watch = early_rejection::Watch::new(state.early_rejection.clone(), sessions);
    let schema_ready = state.schema_ready.clone();
    lifecycle.support("early rejection", |stop| watch.run(schema_ready, stop));
}

/// Books and releases a seat of the hidden concert again and again, if that is configured.
pub fn spawn_canary(
    lifecycle: &mut Lifecycle,
    state: &AppState,
    config: &CanaryConfig,
    http: OwnHttp,
    sessions: Sessions,
    metrics: CanaryMetrics,
) {
    if let Some(every) = config.every {
        let (app, settle_limit) = (state.clone(), config.settle_limit);
        let canary = Canary { app, http, settle_limit, sessions, metrics, has_failed: false };
        let (schema_ready, draining) = (state.schema_ready.clone(), lifecycle.draining());
        lifecycle.work("canary", |stop| canary.run(every, schema_ready, draining, stop));
    }
}

/// Publishes bookings, and receives announced outcomes.
pub fn spawn_broker_tasks(
    lifecycle: &mut Lifecycle,
    state: &AppState,
    broker: Broker,
    mut publishing_task: PublishingTask,
) {
    let mut subscriber = OutcomeSubscriber {
        topology: broker.topology().clone(),
        outcomes: state.outcomes.clone(),
        queue_estimate: state.queue_estimate.clone(),
        seat_feed: state.seat_feed.clone(),
        catalogue: state.catalogue.clone(),
        early_rejection: state.early_rejection.clone(),
        intake: state.intake.clone(),
        installation: state.installation.clone(),
    };
    let (installation, queue_estimate) = (state.installation.clone(), state.queue_estimate.clone());
    lifecycle.support("live view", |stop| installation.run(queue_estimate, stop));
    let (publishing_broker, watching_broker) = (broker.clone(), broker.clone());
    lifecycle.support("broker nodes", |stop| async move {
        watching_broker.watch_nodes(&stop).await;
        Ok(())
    });
    lifecycle.support("publisher", |stop| async move {
        supervise(&publishing_broker, &stop, &mut publishing_task).await;
        Ok(())
    });
    lifecycle.support("outcome subscriber", |stop| async move {
        supervise(&broker, &stop, &mut subscriber).await;
        Ok(())
    });
}

/// Looks up outcomes whose announcement was lost, keeps watched seat maps and the controls of the intake current, and
/// measures the database clock. Forgets what is cached after a restore.
pub fn spawn_database_tasks(lifecycle: &mut Lifecycle, state: &AppState) {
    let (outcomes, database) = (state.outcomes.clone(), state.database.clone());
    lifecycle.support("outcome polling", |stop| outcomes.poll_pending(database, stop));
    let seat_feed = state.seat_feed.clone();
    lifecycle.support("seat feed", |stop| seat_feed.run(stop));
    let (seat_feed, catalogue) = (state.seat_feed.clone(), state.catalogue.clone());
    lifecycle.support("catalogue events", |stop| seat_feed.run_catalogue(catalogue, stop));
    let memory = epoch_watch::Memory {
        outcomes: state.outcomes.clone(),
        seat_feed: state.seat_feed.clone(),
        catalogue: state.catalogue.clone(),
    };
    let database = state.database.clone();
    lifecycle.support("epoch", |stop| epoch_watch::run(database, memory, stop));
    let database = state.database.clone();
    lifecycle.support("unfinished releases", |stop| unfinished_releases::run(database, stop));
    let (intake, database) = (state.intake.clone(), state.database.clone());
    lifecycle.support("intake controls", |stop| intake::polling::run(intake, database, stop));
    let (database_clock, database) = (state.database_clock.clone(), state.database.clone());
    let watching = database.clone();
    lifecycle.support("database clock", |stop| database_clock.keep_measuring(database, stop));
    lifecycle.support("database servers", |stop| database::watch_servers(watching, |_| {}, stop));
}

/// Logs the counts of refused requests and of wrong admin tokens, and frees the rate limiter's memory of idle clients.
pub fn spawn_middleware_tasks(lifecycle: &mut Lifecycle, state: &AppState, middleware: &MiddlewareState) {
    let admin_auth = state.admin_auth.clone();
    lifecycle.support("failed admin attempts", |stop| async move {
        admin_auth.report_failures(stop).await;
        Ok(())
    });
    let tally = middleware.counts.tally().clone();
    lifecycle.support("refusal counts", |stop| async move {
        tally.report_every_second(stop).await;
        Ok(())
    });
    if let Some(rate_limit) = middleware.rate_limit.clone() {
        lifecycle.support("rate limit", |stop| async move {
            rate_limit.evict_idle(stop).await;
            Ok(())
        });
    }
}
