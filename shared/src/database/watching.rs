//! Watches the servers while a program runs: commits that wait for a standby, and a server that has replaced another.
//!
//! With synchronous replication, a commit waits for the standby, however long it takes; no time limit of the server
//! applies, and closing the session does not end the wait. If the standby is lost, each further try would occupy one more
//! session of the server, until it has none left. So nothing is written while commits are blocked.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Database, Servers};
use crate::telemetry::metrics::MetricsRegistry;

/// How often to watch.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Watches until `stop` is cancelled. Calls `report` whenever it has become known whether commits are blocked.
pub async fn watch_servers(
    database: Database,
    report: impl Fn(bool) + Send,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let servers = database.servers().clone();
    // A server that does not respond must not delay the look at the others.
    let watching = async { tokio::join!(watch_commits(database, report), watch_others(servers)) };
    stop.run_until_cancelled(watching).await;
    Ok(())
}

async fn watch_others(servers: Servers) {
    let mut ticks = watch_ticks();
    loop {
        ticks.tick().await;
        servers.look_for_newer().await;
    }
}

async fn watch_commits(database: Database, report: impl Fn(bool)) {
    let (mut ticks, servers) = (watch_ticks(), database.servers().clone());
    let mut were_blocked = false;
    loop {
        ticks.tick().await;
        let wait = database.query(|connection| Box::pin(longest_commit_wait(connection))).await;
        // Unknown is not blocked: the next try to write will tell.
        let wait = wait.inspect_err(|error| debug!("cannot read the waits of commits: {error}"));
        servers.set_commit_wait(wait.unwrap_or_default());
        let are_blocked = servers.commits_are_blocked();
        if are_blocked != were_blocked {
            if are_blocked {
                warn!("commits wait for a synchronous standby; nothing is written until it responds");
            } else {
                info!("commits no longer wait for a synchronous standby");
            }
            report(are_blocked);
        }
        were_blocked = are_blocked;
    }
}

fn watch_ticks() -> Interval {
    let mut ticks = interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Servers {
    /// Exports for how long commits have been waiting for a standby.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let servers = self.clone();
        registry.read_gauge(
            "database_commit_wait_seconds",
            "For how long the oldest commit of the programs has been waiting for a synchronous standby, as last measured",
            move || Some(servers.commit_wait().as_secs_f64()),
        );
    }
}

/// Every role may read what its own sessions wait for.
async fn longest_commit_wait(connection: &mut PgConnection) -> Result<Duration, sqlx::Error> {
    let millis = sqlx::query_scalar!(
        r#"
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start) * 1000)::bigint, 0) AS "millis!"
        FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = current_user
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
}
