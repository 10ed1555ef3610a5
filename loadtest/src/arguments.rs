//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::scenario::Scenario;
use crate::schedule::Shape;
use hamro_verification::contract::Target;
use hamro_verification::follow::Follow;
use hamro_verification::processes::Process;

const ENVIRONMENT: &str = "\
Environment:
  ADMIN_TOKEN   the api's admin token, to create concerts
  DATABASE_URL  to verify the database too, and for `baseline settle`
  AMQP_URL      for `baseline publish`";

/// Puts a running Hamro Concert under the load of a ticket sale, and verifies that nothing was lost or sold twice.
#[derive(Parser)]
#[command(version, after_help = ENVIRONMENT)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a scenario, measure it, and verify that nothing was lost or sold twice
    ///
    /// Exit status: 0 if the run passed, 1 if a rule was violated or the measurement is invalid, 2 if the run could not
    /// be started, 130 if it was interrupted.
    Run(Box<RunArguments>),
    /// Repeat the verification of an earlier run from its journal
    Verify {
        journal: PathBuf,
        /// URL of the system, if it has changed since the run
        #[arg(long)]
        url: Option<String>,
    },
    /// Compare two runs
    Compare { a: PathBuf, b: PathBuf },
    /// Measure the broker or the database alone, as an upper limit for the whole system on the same machine
    #[command(subcommand, alias = "ceiling")]
    Baseline(Baseline),
}

#[derive(Args)]
pub struct RunArguments {
    pub scenario: Scenario,
    /// URL of the system
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// URL of another instance of the same system; may be repeated
    ///
    /// Ticket statuses are read there too. A final status never changes: the instance that reported it must report it
    /// from then on, and another may report `queued` for up to one second longer.
    #[arg(long)]
    pub other_url: Vec<String>,
    /// Booking endpoint to use
    #[arg(long, value_enum, default_value_t = Target::Async)]
    pub target: Target,
    /// Arrivals per second; the peak if the shape varies the rate
    #[arg(long, default_value_t = 1000.0, value_parser = rate)]
    pub rate: f64,
    /// How the rate varies over time
    #[arg(long, value_enum, default_value_t = Shape::Poisson)]
    pub shape: Shape,
    /// How long buyers arrive [default: 30s, unless --buyers is given]
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "buyers")]
    pub duration: Option<Duration>,
    /// Number of buyers
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub buyers: Option<u64>,
    /// Seats to create [default: 300 for rush and live-map, otherwise as many as the buyers need]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats: Option<usize>,
    /// Maximum number of seats per concert; more seats are spread over several concerts, because a seat map is a single
    /// response
    #[arg(long, alias = "hall", default_value_t = 100_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats_per_concert: usize,
    /// Price tiers per concert
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub tiers: usize,
    /// Seats per booking; for rush and live-map the maximum of a random number [default: 4 for rush and live-map, otherwise 1]
    #[arg(long, alias = "party", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10))]
    pub group_size: Option<usize>,
    /// Book seats of this concert instead of creating one; may be repeated
    #[arg(long)]
    pub concert: Vec<Uuid>,
    /// Send every booking with its own Idempotency-Key; replay always does
    #[arg(long)]
    pub keys: bool,
    /// How buyers follow their tickets
    #[arg(long, value_enum, default_value_t = Follow::Wait)]
    pub follow: Follow,
    /// Share of tickets to follow during the run; at its end all are [default: about 200 per second, at least 0.01]
    #[arg(long, value_parser = share)]
    pub follow_share: Option<f64>,
    /// Maximum number of concurrent requests, each on its own connection; a run that reaches it fails
    #[arg(long, default_value_t = 10_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub in_flight_max: usize,
    /// Maximum start lag of this program (p99); a run that exceeds it fails [default: 5ms or a tenth of the measured
    /// p99, whichever is more]
    #[arg(long, value_parser = humantime::parse_duration)]
    pub lag_max: Option<Duration>,
    /// Timeout of a request
    #[arg(long, default_value = "35s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// How long after the last response all tickets must be final
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    pub settle_timeout: Duration,
    /// Path of the journal [default: a new file in the current directory]
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Write the report as JSON, for `compare` and other programs
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the report as an HTML page
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// JSON file of `baseline`, to compare the results with; may be repeated
    #[arg(long, alias = "ceiling")]
    pub baseline: Vec<PathBuf>,
    /// Process whose memory and CPU time to report, including its children's CPU time, such as api=12345; may be
    /// repeated
    #[arg(long)]
    pub watch: Vec<Process>,
    /// The same without memory, which the processes of a database share, such as postgres=12345; may be repeated
    #[arg(long)]
    pub cost: Vec<Process>,
    /// Seed for the random decisions of buyers
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the created concerts, even if nothing was sold
    #[arg(long)]
    pub keep: bool,
}

impl RunArguments {
    /// The maximum number of seats per booking.
    pub fn group_size(&self) -> usize {
        self.group_size.unwrap_or_else(|| self.scenario.usual_group_size())
    }
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

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=1e6).contains(rate));
    rate.ok_or_else(|| "must be a number of arrivals per second, from 0.01 to 1000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a share from 0 to 1, such as 0.01".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        let parse =
            |more: &[&str]| Arguments::try_parse_from([&["hamro-loadtest", "run", "rush"], more].concat());
        assert!(parse(&[]).is_ok());
        for invalid in [
            &["--rate", "0"][..],
            &["--rate", "fast"],
            &["--follow-share", "2"],
            &["--buyers", "0"],
            &["--buyers", "1", "--duration", "1s"],
            &["--seats", "0"],
            &["--watch", "api"],
            &["--cost", "postgres=all"],
        ] {
            assert!(parse(invalid).is_err(), "{invalid:?}");
        }
    }
}
