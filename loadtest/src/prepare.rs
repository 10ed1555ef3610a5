//! Prepares a run: checks its arguments, and creates or finds concerts with enough seats.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::arguments::{ReportOutput, RunArguments};
use crate::report::{METRICS, Threshold};
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::settings::Settings;
use hamro_verification::catalogue::{CatalogueSetup, SeatPool, Size};
use hamro_verification::http::Client;

/// Maximum number of connections for following tickets and for the verification.
pub const FOLLOWERS_MAX: usize = 4_096;
/// Maximum number of connections to each other instance.
pub const OTHERS_MAX: usize = 64;
/// How long buyers arrive by default.
const DURATION: Duration = Duration::from_secs(30);

/// How many connections of each kind the load generator may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bookings: usize,
    /// For the pages of visitors.
    pub visits: usize,
}

impl Limits {
    /// In the scenario `opening` a quarter is for bookings.
    pub fn of(arguments: &RunArguments) -> Self {
        let max = arguments.in_flight_max;
        let bookings = if arguments.scenario == Scenario::Opening { max.div_ceil(4) } else { max };
        Self { bookings, visits: (max - bookings).max(1) }
    }
}

/// Checks combinations of arguments.
pub fn check(arguments: &RunArguments) -> Result<Schedule> {
    let RunArguments { scenario, target, shape, rate, seed, .. } = *arguments;
    ensure!(
        scenario.works_with(target),
        "this scenario follows tickets, which --target sync does not return"
    );
    arguments.opening.of(scenario)?;
    check_files(&arguments.output)?;
    arguments.journal.as_deref().map_or(Ok(()), check_directory)?;
    check_processes(arguments)?;
    Ok(match arguments.buyers {
        Some(buyers) => Schedule::of_buyers(shape, rate, buyers, seed),
        None => Schedule::of_duration(shape, rate, arguments.duration.unwrap_or(DURATION), seed),
    })
}

/// Checks that reports can be written, before anything is measured.
pub fn check_files(output: &ReportOutput) -> Result<()> {
    [&output.json, &output.html].into_iter().flatten().try_for_each(|file| check_directory(file))
}

fn check_directory(file: &Path) -> Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    ensure!(directory.is_none_or(Path::is_dir), "the directory of {} does not exist", file.display());
    Ok(())
}

/// Checks that process names are distinct, and that thresholds refer to processes that are watched.
fn check_processes(arguments: &RunArguments) -> Result<()> {
    let mut names = HashSet::new();
    for process in arguments.watch.iter().chain(&arguments.cost) {
        ensure!(
            names.insert(&process.name),
            "two processes are named '{}': names must be distinct",
            process.name
        );
    }
    for metric in arguments.output.fail_if.iter().map(Threshold::metric) {
        let Some(process) = metric.process() else { continue };
        let watches_memory = arguments.watch.iter().any(|watched| watched.name == process);
        let is_watched = watches_memory || (!metric.is_memory() && names.iter().any(|name| *name == process));
        ensure!(
            is_watched,
            "--fail-if refers to {metric}, but no --watch {process}=PID was given. The metrics are: {METRICS}"
        );
    }
    Ok(())
}

/// Raises the limit on open files, because each connection needs one. Returns how many event streams may be opened.
pub fn raise_file_limit(arguments: &RunArguments) -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let others = arguments.other_url.len() * OTHERS_MAX;
    let needed = (arguments.in_flight_max + FOLLOWERS_MAX + others + 100) as u64;
    ensure!(
        needed <= hard,
        "this process may open {hard} files but needs up to {needed}: lower --in-flight-max or raise the limit (ulimit -Hn)"
    );
    Ok(hard - needed)
}

/// Creates or finds concerts with enough seats for the scenario.
pub async fn prepare_seats(
    arguments: &RunArguments,
    settings: &Settings,
    client: &Client,
    name: &str,
    buyers: u64,
) -> Result<SeatPool> {
    let (scenario, group_size) = (arguments.scenario, arguments.group_size());
    let needed = scenario.seats_needed(buyers, group_size);
    let too_small = |seats: usize| {
        format!("{buyers} buyers need {needed} free seats in this scenario, but there are {seats}")
    };
    if !arguments.concert.is_empty() {
        let mut seat_pool = SeatPool::find(client, &arguments.concert).await?;
        seat_pool.seats = arguments.part.of(&seat_pool.seats).to_vec();
        ensure!(seat_pool.seats.len() >= needed, too_small(seat_pool.seats.len()));
        return Ok(seat_pool);
    }
    let seats = arguments.seats.unwrap_or_else(|| scenario.usual_seats(buyers, group_size));
    ensure!(seats >= needed, too_small(seats));
    let token = settings.admin_token.as_ref();
    let token =
        token.context("ADMIN_TOKEN is not set: it is required to create a concert (or use --concert)")?;
    let size = Size { seats, seats_a_concert: arguments.seats_per_concert, tiers: arguments.tiers };
    CatalogueSetup::new(client, token).make(size, name).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn check_of(more: &[&str]) -> Result<Schedule> {
        let line = [&["hamro-loadtest", "run", "rush", "--watch", "worker=1"], more].concat();
        let Command::Run(arguments) = Arguments::parse_from(line).command else { unreachable!() };
        check(&arguments)
    }

    #[test]
    fn duplicate_process_names_are_rejected() {
        assert!(check_of(&["--watch", "worker-2=2", "--cost", "postgres=3"]).is_ok());
        for more in [["--watch", "worker=2"], ["--cost", "worker=2"]] {
            assert!(check_of(&more).unwrap_err().to_string().contains("'worker'"), "{more:?}");
        }
    }

    #[test]
    fn a_threshold_of_a_process_that_is_not_watched_is_rejected() {
        let with = |condition| check_of(&["--cost", "postgres=3", "--fail-if", condition]);
        for known in ["worker.cpu>1%", "worker.memory>1MB", "postgres.cpu>1%", "loader.memory>1MB"] {
            assert!(with(known).is_ok(), "{known}");
        }
        for unknown in ["api.cpu>1%", "api.memory>1MB", "postgres.memory>1MB"] {
            let error = with(unknown).unwrap_err().to_string();
            assert!(error.contains("The metrics are: accept"), "{unknown}: {error}");
        }
    }
}
