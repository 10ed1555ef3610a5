//! `hamro-api check`: whether a database is whole, after a restore or a failover. It says what is wrong and what to do.
//!
//! It reads in one snapshot and changes nothing, unless told to. The rules for seats, sales and counters are those of the
//! auditor ([`hamro_shared::audit`]). `--repair` repairs what has one right repair; the rest needs a decision.

mod objects;
mod problem;
mod references;
mod repair;
mod restore;
mod rows;
mod schema;
mod sequences;
mod server;
mod survey;

use std::process::ExitCode;

use hamro_shared::output::print;
use sqlx::postgres::PgConnection;

pub use self::objects::{OBJECTS, stored_objects};
pub use self::problem::{Problem, Repair};
pub use self::restore::start_after_restore;
pub use self::survey::{Survey, survey};

/// The exit status if something is wrong.
const PROBLEMS_FOUND: u8 = 3;

/// Settings of the command's session: a check of a large database takes minutes, and a repair waits for no lock for long.
pub const SESSION_SETTINGS: &[(&str, &str)] =
    &[("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0"), ("lock_timeout", "10s")];

#[derive(clap::Args)]
pub struct Arguments {
    /// Repair what has one right repair: sequences, counters, descriptions and digests of sales, seats that nobody can have,
    /// versions of concerts, statistics
    #[arg(long)]
    pub repair: bool,
    /// Begin a new epoch before the check, once after every restore
    ///
    /// Running instances then forget what they have cached, and numbers that were given out after the backup are not given
    /// out again. Unsold seats are sold only to bookings that are submitted three seconds later.
    #[arg(long)]
    pub after_restore: bool,
    /// Print JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// Checks the database, and prints what is wrong.
pub async fn run(connection: &mut PgConnection, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut done = Vec::new();
    // Otherwise only the survey says what is missing, and the operator repeats the command.
    if arguments.after_restore && schema::is_usable(connection).await? {
        done.extend(start_after_restore(connection).await?);
    }
    let mut found = survey(connection).await?;
    if arguments.repair {
        let repaired = repair(connection, &found).await?;
        if !repaired.is_empty() {
            found = survey(connection).await?;
        }
        done.extend(repaired);
    }
    found.done = done;
    print(&if arguments.json { serde_json::to_string_pretty(&found)? } else { found.to_string() })?;
    Ok(if found.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PROBLEMS_FOUND) })
}

/// Does the repairs of these problems, and returns what was done.
pub async fn repair(connection: &mut PgConnection, survey: &Survey) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    for problem in &survey.problems {
        if let Some(repair) = &problem.repair {
            done.push(repair.apply(connection).await?);
        }
    }
    Ok(done)
}
