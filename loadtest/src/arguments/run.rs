//! The arguments of the command `run`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use uuid::Uuid;

use super::{OpeningOptions, ReportOutput};
use crate::scenario::Scenario;
use crate::schedule::Shape;
use hamro_verification::contract::Target;
use hamro_verification::follow::Follow;
use hamro_verification::processes::Process;

/// The time in which the idle system is measured. The kernel counts CPU time in steps of 10 ms, so this is exact to 0.2 %
/// of a core.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct RunArguments {
    pub scenario: Scenario,
    /// URL of the system
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// URL of another instance of the same system; may be repeated
    ///
    /// Ticket statuses are read there too. A final status never changes. The instance that reported it must report it
    /// from then on, and another may report `queued` for up to one second longer.
    #[arg(long)]
    pub other_url: Vec<String>,
    /// Booking endpoint to use
    #[arg(long, value_enum, default_value_t = Target::Async)]
    pub target: Target,
    /// Arrivals per second; the peak if the shape varies the rate
    #[arg(long, visible_alias = "visits-per-second", default_value_t = 1000.0, value_parser = rate)]
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
    /// Seats to create [default: 300 for the scenarios rush, live-map and opening, otherwise as many as the buyers need]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats: Option<usize>,
    /// Maximum number of seats per concert
    ///
    /// More seats are spread over several concerts, because the seat map of a concert is a single response.
    #[arg(long, alias = "hall", default_value_t = 100_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub seats_per_concert: usize,
    /// Price tiers per concert
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub tiers: usize,
    /// Seats per booking [default: 1, or 1 to 4 at random in the scenarios rush, live-map and opening]
    ///
    /// In these scenarios every buyer wants a random number of seats, up to this number.
    #[arg(long, alias = "party", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10))]
    pub group_size: Option<usize>,
    /// Book seats of this concert instead of creating one; may be repeated
    ///
    /// Several load generators can book the same concert. Afterwards `verify` or `merge` must read their journals
    /// together.
    #[arg(long)]
    pub concert: Vec<Uuid>,
    /// Book only a part of the free seats, such as 1/2 or 2/2, because other load generators book the others
    #[arg(long, requires = "concert", default_value_t, hide_default_value = true)]
    pub part: Part,
    /// When the first buyer arrives, such as 2026-11-25T10:00:00Z, so that several load generators start together
    #[arg(long, value_parser = humantime::parse_rfc3339_weak)]
    pub start_at: Option<SystemTime>,
    /// Send every booking with its own Idempotency-Key; replay always does
    #[arg(long)]
    pub keys: bool,
    /// How buyers follow their tickets
    #[arg(long, value_enum, default_value_t = Follow::Wait)]
    pub follow: Follow,
    /// Share of tickets to follow during the run [default: about 200 tickets per second, at least 0.01]
    ///
    /// After the run every ticket is followed until it is final.
    #[arg(long, value_parser = share)]
    pub follow_share: Option<f64>,
    /// Maximum number of concurrent requests, each on its own connection; a run that reaches it fails
    #[arg(long, default_value_t = 10_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub in_flight_max: usize,
    /// Maximum start lag [default: 5ms or a tenth of the measured p99, whichever is more]
    ///
    /// A run fails if more than 1 % of its requests start later than this after they were due, because the results
    /// would describe this program rather than the system.
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
    #[command(flatten)]
    pub output: ReportOutput,
    /// JSON file of the command `baseline`, to compare the results with; may be repeated
    #[arg(long, alias = "ceiling")]
    pub baseline: Vec<PathBuf>,
    /// Process whose memory and CPU time to report, such as api=12345; may be repeated
    ///
    /// The CPU time includes that of its child processes.
    #[arg(long)]
    pub watch: Vec<Process>,
    /// Process whose CPU time to report, such as postgres=12345; may be repeated
    ///
    /// Without memory, because the processes of a database share theirs.
    #[arg(long)]
    pub cost: Vec<Process>,
    /// How long to measure the CPU time of the named processes before the first buyer arrives [default: 5s in the
    /// scenarios rush and opening, if processes are named and --start-at is not given; otherwise 0s]
    ///
    /// The report tells what the idle system uses apart from what buyers cost.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub idle: Option<Duration>,
    /// Seed for the random decisions of buyers
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Remove the created concerts and what was sold, if no rule was violated
    ///
    /// By default they are kept, because `verify` needs them, and the command `clean` removes them.
    #[arg(long)]
    pub clean: bool,
    #[command(flatten)]
    pub opening: OpeningOptions,
}

impl RunArguments {
    /// How long to measure the idle system.
    pub fn idle(&self) -> Duration {
        let is_useful = self.scenario.is_counted_by_buyer() && self.start_at.is_none();
        let has_processes = !self.watch.is_empty() || !self.cost.is_empty();
        self.idle.unwrap_or(if is_useful && has_processes { IDLE } else { Duration::ZERO })
    }

    /// The maximum number of seats per booking.
    pub fn group_size(&self) -> usize {
        self.group_size.unwrap_or_else(|| self.scenario.usual_group_size())
    }
}

/// The part of the free seats that a load generator books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    number: usize,
    of: usize,
}

impl Default for Part {
    /// All seats.
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        let part = numbers.filter(|(number, of)| (1..=*of).contains(number));
        part.map(|(number, of)| Self { number, of }).ok_or_else(|| "must look like 1/2".to_owned())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Part {
    /// The seats of this part.
    pub fn of<'a>(&self, seats: &'a [i32]) -> &'a [i32] {
        let bound = |number: usize| seats.len() * number / self.of;
        &seats[bound(self.number - 1)..bound(self.number)]
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=1e6).contains(rate));
    rate.ok_or_else(|| "must be a number of arrivals per second, from 0.01 to 1000000".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a share from 0 to 1, such as 0.01".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

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
            &["--fail-if", "speed>5ms"],
            &["--fail-if", "settle.p99>50"],
            &["--start-at", "tomorrow"],
            &["--part", "1/2"],
            &["--concert", "00000000-0000-0000-0000-000000000001", "--part", "3/2"],
        ] {
            assert!(parse(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn the_parts_of_all_load_generators_are_all_seats() {
        let seats: Vec<i32> = (1..=10).collect();
        let of = |text: &str| text.parse::<Part>().unwrap().of(&seats).to_vec();
        assert_eq!(["1/3", "2/3", "3/3"].map(of).concat(), seats);
        assert_eq!(Part::default().of(&seats), seats);
        for invalid in ["0/2", "3/2", "1", "1/0", "a/b"] {
            assert!(invalid.parse::<Part>().is_err(), "{invalid}");
        }
    }
}
