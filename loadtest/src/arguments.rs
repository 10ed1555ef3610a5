//! The command line.

mod opening;
mod run;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::report::{METRICS, Threshold};

pub use opening::{OpeningArguments, OpeningOptions};
pub use run::{Part, RunArguments};

const AFTER_HELP: &str = "\
Environment:
  ADMIN_TOKEN   the api's admin token, to create and remove concerts
  DATABASE_URL  to verify the database too, and for `baseline settle`
  AMQP_URL      for `baseline publish`

Exit status:
  0    passed
  1    failed: a rule was violated, a threshold was crossed, or the measurement is invalid
  2    the command could not run: invalid arguments, or the system cannot be reached
  130  interrupted

A first run, against `make up`:
  ADMIN_TOKEN=… hamro-loadtest run rush --rate 500 --duration 10s --html report.html";

/// Puts a running Hamro Concert under the load of a ticket sale, and verifies that nothing was lost or sold twice.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a scenario, measure it, and verify that nothing was lost or sold twice
    #[command(after_help = AFTER_HELP)]
    Run(Box<RunArguments>),
    /// Repeat the verification of earlier runs from their journals
    ///
    /// Several journals of load generators that booked the same concerts are also verified together: a seat that was
    /// sold to two of them is found only in this way.
    Verify {
        #[arg(required = true)]
        journals: Vec<PathBuf>,
        /// URL of the system, if it has changed since the run
        #[arg(long)]
        url: Option<String>,
        /// Nobody else booked these concerts, so every sold seat must be in one of the journals
        #[arg(long)]
        exclusive: bool,
    },
    /// Merge the reports of several load generators that ran at the same time
    Merge(MergeArguments),
    /// Compare two runs
    Compare { a: PathBuf, b: PathBuf },
    /// Create concerts for several load generators to share, and print the argument that names them
    Create(CreateArguments),
    /// Remove all concerts that load tests have created, and what was sold of them
    Clean(CleanArguments),
    /// Measure the broker or the database alone, to compare the whole system on the same machine with it
    #[command(subcommand, alias = "ceiling")]
    Baseline(Baseline),
}

/// Where to write a report, and when it fails.
#[derive(Args)]
pub struct ReportOutput {
    /// Fail if this condition is true, such as "settle.p99>50ms" or "accepted<500/s"; may be repeated
    #[arg(long, value_name = "CONDITION", long_help = fail_if_help())]
    pub fail_if: Vec<Threshold>,
    /// Write the report as JSON, for `compare`, `merge` and other programs
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the report as an HTML page
    #[arg(long)]
    pub html: Option<PathBuf>,
}

fn fail_if_help() -> String {
    format!(
        "Fail if this condition is true, such as \"settle.p99>50ms\" or \"accepted<500/s\"; may be repeated\n\n\
         A condition is a metric, one of > >= < <=, and a value. It also fails if nothing was measured. The metrics \
         are: {METRICS}."
    )
}

#[derive(Args)]
pub struct MergeArguments {
    /// JSON reports of the load generators
    #[arg(required = true, num_args = 2..)]
    pub reports: Vec<PathBuf>,
    /// Journal of a load generator, to verify all of them together; needed if they booked the same concerts
    ///
    /// Give the journals of all load generators. The system must still be running.
    #[arg(long)]
    pub journal: Vec<PathBuf>,
    /// Nobody else booked these concerts, so every sold seat must be in one of the journals
    #[arg(long, requires = "journal")]
    pub exclusive: bool,
    /// URL of the system, if it has changed since the run
    #[arg(long, requires = "journal")]
    pub url: Option<String>,
    #[command(flatten)]
    pub output: ReportOutput,
}

#[derive(Args)]
pub struct CreateArguments {
    /// URL of the system
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// Number of seats
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats: usize,
    /// Maximum number of seats per concert
    #[arg(long, default_value_t = 100_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats_per_concert: usize,
    /// Price tiers per concert
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub tiers: usize,
}

#[derive(Args)]
pub struct CleanArguments {
    /// URL of the system
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// Remove them without asking
    #[arg(long)]
    pub yes: bool,
}

#[derive(Subcommand)]
pub enum Baseline {
    /// Confirmed publishing to a quorum queue, with 1 and with 64 bookings per message
    Publish {
        #[command(flatten)]
        common: BaselineArguments,
        /// Maximum number of outstanding confirms
        #[arg(long, default_value_t = 256)]
        in_flight: usize,
    },
    /// The bare statements that settle a batch, in a temporary database
    Settle {
        #[command(flatten)]
        common: BaselineArguments,
        /// Bookings per transaction
        #[arg(long, default_value_t = 500)]
        batch: usize,
        /// Concurrent connections
        #[arg(long, default_value_t = 2)]
        connections: usize,
    },
}

#[derive(Args)]
pub struct BaselineArguments {
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Write the results as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        Arguments::command().debug_assert();
    }
}
