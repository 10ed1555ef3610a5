//! The auditor, against a real Postgres. This file has what its tests share.

mod findings;
mod legal_states;
mod plans;
mod takeover;

use std::num::NonZeroU16;
use std::time::Duration;

use hamro_shared::audit::{AuditReport, latest_report};
use hamro_shared::database::{Database, DatabaseClock, MIGRATOR, Sessions, seed};
use hamro_shared::domain::Clock;
use hamro_worker::audit::{Auditor, SESSION_SETTINGS};
use hamro_worker::pipeline::workload::Workload;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// The name of the auditor's sessions.
const AUDITOR: &str = "auditor";

/// An auditor in a task of its own, like that of a worker. It is aborted when this is dropped.
struct RunningAuditor(JoinHandle<anyhow::Result<()>>);

impl RunningAuditor {
    async fn start(pool: &PgPool, every: Duration, workload: Workload) -> Self {
        let options = (*pool.connect_options()).clone().application_name(AUDITOR);
        let sessions = Sessions::new(options, SESSION_SETTINGS);
        let clock = DatabaseClock::new(Clock::system());
        clock.measure(&Database::new(sessions.clone(), NonZeroU16::MIN)).await.unwrap();
        let auditor = Auditor::new(sessions, &clock, workload, every);
        Self(tokio::spawn(auditor.run(CancellationToken::new())))
    }
}

impl Drop for RunningAuditor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn report(pool: &PgPool) -> Option<AuditReport> {
    latest_report(&mut pool.acquire().await.unwrap()).await.unwrap()
}

/// Waits for a report that satisfies the condition.
async fn report_that(pool: &PgPool, condition: impl Fn(&AuditReport) -> bool) -> AuditReport {
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Some(report) = report(pool).await.filter(&condition) {
            return report;
        }
    }
}

/// The report after one pass.
async fn audited(pool: &PgPool) -> AuditReport {
    let _auditor = RunningAuditor::start(pool, Duration::from_hours(1), Workload::default()).await;
    report_that(pool, |report| report.completed_at.is_some()).await
}

/// The kinds of mismatches that were found, with their numbers.
fn found(report: &AuditReport) -> Vec<(&str, u64)> {
    report
        .mismatches
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect()
}

async fn seeded(pool: &PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
}

async fn execute(pool: &PgPool, statements: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statements.into())).execute(pool).await.unwrap();
}

/// Statements that sell these seats in one sale with this number, as a worker does.
fn sale(number: i64, seats: &[i32]) -> String {
    format!(
        "WITH sold AS (
             INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
             VALUES ({number}, gen_random_uuid(), 'alice', 'alice@example.com', now()) RETURNING *
         ), booked AS (
             INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
             SELECT ticket_id, 'confirmed', now(), ''::bytea, id FROM sold
         ), marked AS (
             UPDATE seats SET booked_at = now() WHERE id = ANY('{{{seats}}}') AND booked_at IS NULL RETURNING ticket_tier_id
         ), counted AS (
             UPDATE ticket_tiers SET available = available - count
             FROM (SELECT ticket_tier_id, count(*) FROM marked GROUP BY 1) marked WHERE id = ticket_tier_id
         )
         INSERT INTO sale_seats (sale_id, position, seat_id, price)
         SELECT {number}, place, id, 1 FROM unnest('{{{seats}}}'::integer[]) WITH ORDINALITY AS seat (id, place);",
        seats = seats.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
    )
}

/// Statements that release the seats of a sale, as the api does.
fn release(number: i64) -> String {
    format!(
        "WITH released AS (
             UPDATE sale_seats SET released_at = now() WHERE sale_id = {number} AND released_at IS NULL RETURNING seat_id
         ), freed AS (
             UPDATE seats SET booked_at = NULL FROM released WHERE id = seat_id RETURNING ticket_tier_id
         )
         UPDATE ticket_tiers SET available = available + count
         FROM (SELECT ticket_tier_id, count(*) FROM freed GROUP BY 1) freed WHERE id = ticket_tier_id;"
    )
}
