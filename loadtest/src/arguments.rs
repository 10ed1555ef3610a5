//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::follow::Follow;
use crate::processes::Process;
use crate::scenario::Scenario;
use crate::schedule::Shape;
use crate::wire::Target;

const ENVIRONMENT: &str = "\
Environment:
  ADMIN_TOKEN   the api's, to make concerts
  DATABASE_URL  to check the database as well, and for `ceiling settle`
  AMQP_URL      for `ceiling publish`";

/// Load on a running Hamro Concert, as a real on-sale makes it, and the proof that nothing was lost or sold twice.
#[derive(Parser)]
#[command(version, after_help = ENVIRONMENT)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a scenario, measure it, and prove that nothing was lost or sold twice
    ///
    /// Exit status: 0 if all is well, 1 if something does not hold or the measurement was spoiled, 2 if the run could not be
    /// made, 130 if it was interrupted.
    Run(Box<RunArguments>),
    /// Make the proof of an earlier run again, from its journal
    Verify {
        journal: PathBuf,
        /// Where the system answers now, if not where it did
        #[arg(long)]
        url: Option<String>,
    },
    /// Set the figures of two runs side by side
    Compare { a: PathBuf, b: PathBuf },
    /// Measure what the bare services can do, on the same machine: the limit that a figure stands beside
    #[command(subcommand)]
    Ceiling(Ceiling),
}

#[derive(Args)]
pub struct RunArguments {
    pub scenario: Scenario,
    /// Where the system answers
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// Where another instance of the same system answers; may be given several times
    ///
    /// Tickets are read there as well. A final status never changes: the instance that reported it must report it from then
    /// on, and another may answer `queued` for up to one second longer.
    #[arg(long)]
    pub other_url: Vec<String>,
    /// By which contract bookings are made
    #[arg(long, value_enum, default_value_t = Target::Async)]
    pub target: Target,
    /// Arrivals a second; at the highest, where the shape moves it
    #[arg(long, default_value_t = 1000.0, value_parser = rate)]
    pub rate: f64,
    /// How the rate moves
    #[arg(long, value_enum, default_value_t = Shape::Poisson)]
    pub shape: Shape,
    /// For how long buyers arrive; 30s if neither this nor --buyers is given
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "buyers")]
    pub duration: Option<Duration>,
    /// How many buyers arrive
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub buyers: Option<u64>,
    /// Seats of the concert that is made; by default 300 for rush and herd, and what is needed for the others
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats: Option<usize>,
    /// Seats beyond so many go into a further concert: a concert's seat map is one answer
    #[arg(long, default_value_t = 100_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub hall: usize,
    /// Price tiers of a concert
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub tiers: usize,
    /// The most seats that a buyer asks for; 4 for rush and herd, which ask for 1 to so many, and 1 for the others
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10))]
    pub party: Option<usize>,
    /// Book seats of this concert instead of making one; may be given several times
    #[arg(long)]
    pub concert: Vec<Uuid>,
    /// Send every booking under an Idempotency-Key of its own; replay always does
    #[arg(long)]
    pub keys: bool,
    /// How tickets are followed
    #[arg(long, value_enum, default_value_t = Follow::Wait)]
    pub follow: Follow,
    /// The share of tickets that is followed while the run lasts; all are at its end. By default so many that some 200 a
    /// second are, and at least a hundredth
    #[arg(long, value_parser = share)]
    pub follow_share: Option<f64>,
    /// The most requests at a time, each on a connection of its own; a run that reaches this fails
    #[arg(long, default_value_t = 10_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub in_flight_max: usize,
    /// The most that this program itself may be late, for 99 % of arrivals; by default 5ms or a tenth of what is measured,
    /// whichever is more. A run that is later fails
    #[arg(long, value_parser = humantime::parse_duration)]
    pub lag_max: Option<Duration>,
    /// How long a request may take
    #[arg(long, default_value = "35s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// How long after the last answer all tickets must have ended
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    pub settle_timeout: Duration,
    /// Where the journal is written; by default beside you, under a name of its own
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Write the whole report as JSON, for `compare` and other programs
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the report as one web page
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// A JSON file of `ceiling`, whose figures the report sets beside its own; may be given several times
    #[arg(long)]
    pub ceiling: Vec<PathBuf>,
    /// A process whose memory is shown, and its processor time with that of all that it has started, such as api=12345; may be
    /// given several times
    #[arg(long)]
    pub watch: Vec<Process>,
    /// The same without the memory, which a database's processes share, such as postgres=12345; may be given several times
    #[arg(long)]
    pub cost: Vec<Process>,
    /// What the buyers do by chance follows from this number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave the concerts that were made, even if nothing of them was sold
    #[arg(long)]
    pub keep: bool,
}

#[derive(Subcommand)]
pub enum Ceiling {
    /// Confirmed publishing to a quorum queue: a message a booking, and parcels of 64 bookings
    Publish {
        #[command(flatten)]
        common: CeilingArguments,
        /// Confirms that are waited for at a time
        #[arg(long, default_value_t = 256)]
        in_flight: usize,
    },
    /// The statements that settle a batch, without anything around them, on tables of its own
    Settle {
        #[command(flatten)]
        common: CeilingArguments,
        /// Bookings a transaction
        #[arg(long, default_value_t = 500)]
        batch: usize,
        /// Connections that settle at a time
        #[arg(long, default_value_t = 2)]
        connections: usize,
    },
}

#[derive(Args)]
pub struct CeilingArguments {
    /// For how long to measure
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Write the figures as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=1e6).contains(rate));
    rate.ok_or_else(|| "must be a number of arrivals a second, from 0.01 to 1000000".to_owned())
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
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let parse =
            |more: &[&str]| Arguments::try_parse_from([&["hamro-loadtest", "run", "rush"], more].concat());
        assert!(parse(&[]).is_ok());
        for wrong in [
            &["--rate", "0"][..],
            &["--rate", "fast"],
            &["--follow-share", "2"],
            &["--buyers", "0"],
            &["--buyers", "1", "--duration", "1s"],
            &["--seats", "0"],
            &["--watch", "api"],
            &["--cost", "postgres=all"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
