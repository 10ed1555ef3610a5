//! Postgres: each server of `DATABASE_URL`, whether the programs can use the writable one, and what it is configured to do.

mod schema;
mod server;

use std::time::Duration;

use hamro_shared::database::DatabaseConfig;
use hamro_shared::domain::{Clock, Timestamp};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use self::server::Server;
use super::report::Finding;
use crate::config::DATABASE_SESSION;

const SERVER: &str = "database";
const USABLE: &str = "sessions of the database";
const CLOCK: &str = "clock of this machine";

/// As the alert of the programs.
const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(2);

/// The findings, and how many sessions the writable server permits, if it was reached.
pub async fn check(config: &DatabaseConfig) -> (Vec<Finding>, Option<SessionLimit>) {
    let mut examined = Vec::new();
    for (address, connected) in config.inspect("hamro-api-doctor").await {
        examined.push((address, examine(connected).await));
    }
    let writable = |result: &Examined| result.as_ref().is_ok_and(|(_, server)| server.is_writable());
    let primaries = examined.iter().filter(|(_, result)| writable(result)).count();
    let mut findings: Vec<_> = examined
        .iter()
        .map(|(address, result)| match result {
            Ok((_, server)) => server.role(primaries).of(address),
            Err(error) => unreachable_server(error, primaries).of(address),
        })
        .collect();
    findings.push(usable(config).await);
    let primary = examined.into_iter().map(|(_, result)| result).find(writable);
    let Some(Ok((mut connection, server))) = primary else { return (findings, None) };
    findings.extend(server.check());
    findings.extend(schema::check(&mut connection).await);
    findings.push(match clock_offset(&mut connection).await {
        Ok(offset) => clock(offset),
        Err(error) => Finding::error(CLOCK, error.to_string(), "run this again"),
    });
    // Best effort: the server also notices a closed socket.
    let _ = connection.close().await;
    (findings, Some(server.session_limit()))
}

type Examined = Result<(PgConnection, Server), sqlx::Error>;

async fn examine(connected: Result<PgConnection, sqlx::Error>) -> Examined {
    let mut connection = connected?;
    let server = Server::read(&mut connection).await?;
    Ok((connection, server))
}

fn unreachable_server(error: &sqlx::Error, primaries: usize) -> Finding {
    let remedy = "start it, or correct DATABASE_URL; a firewall or a wrong port shows like this too";
    // The programs run on as long as another server takes writes.
    if primaries > 0 {
        Finding::warning(SERVER, error.to_string(), remedy)
    } else {
        Finding::error(SERVER, error.to_string(), remedy)
    }
}

/// How many sessions the programs may open together, and how many others use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    pub max: u64,
    pub of_others: u64,
}

/// Compares the limit with what the processes need together.
pub fn sessions(limit: SessionLimit, needed: u64) -> Finding {
    const CHECK: &str = "max_connections of Postgres";
    let SessionLimit { max, of_others } = limit;
    let text = format!("{max} for the programs and others; the processes that run open up to {needed}");
    if needed + of_others > max {
        let finding = format!("{text}, and others have {of_others} now: processes will be refused a session");
        let remedy =
            "raise max_connections (which needs a restart of Postgres), or lower DATABASE_CONNECTIONS";
        return Finding::error(CHECK, finding, remedy);
    }
    if needed * 2 > max {
        let remedy =
            "raise max_connections before you start more processes: a rolling upgrade may double them";
        return Finding::warning(CHECK, text, remedy);
    }
    Finding::ok(CHECK, text)
}

/// Opens a session as the programs do, which verify it.
async fn usable(config: &DatabaseConfig) -> Finding {
    match config.sessions("hamro-api-doctor", DATABASE_SESSION).open().await {
        Ok(session) => {
            let _ = session.connection.close().await;
            Finding::ok(USABLE, "the programs can open and use them")
        }
        Err(error) => {
            Finding::error(USABLE, error.to_string(), "docs/RUNBOOK.md: Connections to Postgres and RabbitMQ")
        }
    }
}

/// How many milliseconds the database clock is ahead of the clock of this machine.
async fn clock_offset(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let system = Clock::system();
    let (before, started) = (system.now(), Instant::now());
    let now: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await?;
    Ok(now.unix_millis() - (before + started.elapsed() / 2).unix_millis())
}

fn clock(offset_millis: i64) -> Finding {
    let difference = Duration::from_millis(offset_millis.unsigned_abs());
    if difference <= CLOCK_OFFSET_MAX {
        return Finding::ok(CLOCK, format!("differs by {difference:.1?} from the database clock"));
    }
    let direction = if offset_millis > 0 { "behind" } else { "ahead of" };
    Finding::warning(
        CLOCK,
        format!("{difference:.1?} {direction} the database clock, which decides deadlines"),
        "synchronise it (chrony, systemd-timesyncd), or that of the database if it is the wrong one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn a_clock_that_differs_by_more_than_two_seconds_is_reported_with_its_direction() {
        assert_eq!(clock(-2_000).verdict, Verdict::Ok);
        let ahead = clock(-11_000);
        assert_eq!(ahead.verdict, Verdict::Warning);
        assert!(ahead.finding.starts_with("11.0s ahead of"), "{}", ahead.finding);
        assert!(clock(3_000).finding.starts_with("3.0s behind"));
    }

    #[test]
    fn too_few_sessions_are_an_error_and_a_narrow_limit_is_a_warning() {
        let verdict = |max, of_others, needed| sessions(SessionLimit { max, of_others }, needed).verdict;
        assert_eq!(verdict(97, 3, 29), Verdict::Ok);
        assert_eq!(verdict(97, 3, 60), Verdict::Warning);
        assert_eq!(verdict(97, 3, 95), Verdict::Error);
        assert_eq!(verdict(20, 0, 29), Verdict::Error);
    }
}
