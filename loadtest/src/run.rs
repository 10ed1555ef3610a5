//! The phases of a run.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hamro_shared::config::Env;
use hamro_shared::domain::Clock;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use crate::arguments::RunArguments;
use crate::buyers::{SeatChoice, Workload};
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::load_phase::run_load_phase;
use crate::metrics::Metrics;
use crate::report::{BaselineReport, Ending, Progress, Report, say, summary};
use crate::run_context::RunContext;
use crate::sampler::SILENCE;
use crate::schedule::Schedule;
use hamro_verification::catalogue::{CatalogueSetup, SeatPool, Size};
use hamro_verification::database_clock;
use hamro_verification::follow::Pace;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;
use hamro_verification::journal::{Header, Journal};
use hamro_verification::proof::{self, RunFacts};
use hamro_verification::recorded_client::RecordedClient;
use hamro_verification::run_log::RunLog;

/// Maximum number of connections for following tickets and for the verification.
const FOLLOWERS_MAX: usize = 4_096;
/// Maximum number of connections to each other instance.
const OTHERS_MAX: usize = 64;
/// The default number of tickets followed per second during the run, and the minimum share.
const FOLLOWED: (f64, f64) = (200.0, 0.01);

/// Settings from the environment.
pub struct Settings {
    pub admin_token: Option<SecretString>,
    pub database: Option<PgConnectOptions>,
}

impl Settings {
    pub fn read(mut env: Env) -> Result<Self> {
        let token = env
            .variable("ADMIN_TOKEN", "Creates and deletes concerts.", "the api's admin token")
            .secret()
            .optional();
        let database = env
            .variable(
                "DATABASE_URL",
                "The api's database, to verify it too.",
                "postgres://user:password@host:5432/database",
            )
            .secret()
            .optional();
        let built = token.zip(database).map(|(admin_token, database)| Self { admin_token, database });
        Ok(env.finish(built)?)
    }
}

pub async fn run(arguments: RunArguments, settings: Settings) -> Result<ExitCode> {
    let schedule = check(&arguments)?;
    let interrupt = Interrupt::listen()?;
    raise_file_limit(&arguments)?;
    let client = Client::new(&arguments.url, arguments.in_flight_max, arguments.timeout)?;
    for client in [&client].into_iter().chain(&others(&arguments)?) {
        client.get("/concerts?limit=1").await.with_context(|| format!("{client} does not respond"))?;
    }
    let name = format!("{:x}", Clock::system().now().unix_millis());

    let group_size = arguments.group_size();
    let preparing = prepare(&arguments, &settings, &client, &name, schedule.buyers(), group_size);
    let Some(seat_pool) = interrupt.stop.run_until_cancelled(preparing).await else {
        bail!("interrupted while creating the concert 'Load test {name}', which may exist in part");
    };
    let seat_pool = seat_pool?;
    let result = Box::pin(measure(
        &arguments,
        &settings,
        client.clone(),
        name,
        seat_pool.clone(),
        schedule,
        interrupt,
    ))
    .await;
    if let Some(token) =
        settings.admin_token.as_ref().filter(|_| arguments.concert.is_empty() && !arguments.keep)
    {
        say(CatalogueSetup::new(&client, token).clean_up(&seat_pool).await);
    }
    result
}

/// Clients for the other instances.
fn others(arguments: &RunArguments) -> Result<Vec<Client>> {
    arguments.other_url.iter().map(|url| Client::new(url, OTHERS_MAX, arguments.timeout)).collect()
}

/// Checks combinations of arguments.
fn check(arguments: &RunArguments) -> Result<Schedule> {
    let RunArguments { scenario, target, shape, rate, seed, .. } = *arguments;
    ensure!(
        scenario.works_with(target),
        "this scenario follows tickets, which --target sync does not return"
    );
    let duration = arguments.duration.unwrap_or(Duration::from_secs(30));
    for file in [&arguments.json, &arguments.html, &arguments.journal].into_iter().flatten() {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        ensure!(
            directory.is_none_or(std::path::Path::is_dir),
            "the directory of {} does not exist",
            file.display()
        );
    }
    let mut names = HashSet::new();
    for process in arguments.watch.iter().chain(&arguments.cost) {
        ensure!(
            names.insert(&process.name),
            "two processes are named '{}': names must be distinct",
            process.name
        );
    }
    Ok(match arguments.buyers {
        Some(buyers) => Schedule::of_buyers(shape, rate, buyers, seed),
        None => Schedule::of_duration(shape, rate, duration, seed),
    })
}

/// Raises the limit on open files, because each connection needs one.
fn raise_file_limit(arguments: &RunArguments) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let others = arguments.other_url.len() * OTHERS_MAX;
    let needed = (arguments.in_flight_max + FOLLOWERS_MAX + others + 100) as u64;
    ensure!(
        needed <= hard,
        "this process may open {hard} files but needs up to {needed}: lower --in-flight-max or raise the limit (ulimit -Hn)"
    );
    Ok(())
}

/// Creates or finds concerts with enough seats for the scenario.
async fn prepare(
    arguments: &RunArguments,
    settings: &Settings,
    client: &Client,
    name: &str,
    buyers: u64,
    group_size: usize,
) -> Result<SeatPool> {
    let scenario = arguments.scenario;
    let needed = scenario.seats_needed(buyers, group_size);
    let seats = arguments.seats.unwrap_or_else(|| scenario.usual_seats(buyers, group_size));
    let too_small = |seats: usize| {
        format!("{buyers} buyers need {needed} free seats in this scenario, but there are {seats}")
    };
    if !arguments.concert.is_empty() {
        let seat_pool = SeatPool::find(client, &arguments.concert).await?;
        ensure!(seat_pool.seats.len() >= needed, too_small(seat_pool.seats.len()));
        return Ok(seat_pool);
    }
    ensure!(seats >= needed, too_small(seats));
    let token = settings.admin_token.as_ref();
    let token =
        token.context("ADMIN_TOKEN is not set: it is required to create a concert (or use --concert)")?;
    let size = Size { seats, seats_a_concert: arguments.seats_per_concert, tiers: arguments.tiers };
    CatalogueSetup::new(client, token).make(size, name).await
}

async fn measure(
    arguments: &RunArguments,
    settings: &Settings,
    client: Client,
    name: String,
    seat_pool: SeatPool,
    schedule: Schedule,
    interrupt: Interrupt,
) -> Result<ExitCode> {
    let baselines: Vec<BaselineReport> =
        arguments.baseline.iter().map(|path| BaselineReport::read(path)).collect::<Result<_>>()?;
    let RunArguments { scenario, keys, seed, .. } = *arguments;
    let seat_choice = SeatChoice { scenario, group_size: arguments.group_size(), keys, seed };
    let workload = Workload::new(seat_choice, &seat_pool.seats);
    let (context, header) = context(arguments, client, name, seat_pool, &schedule)?;
    read_database_clock(settings, &context.run_log).await?;
    interrupt.keep(&context.run_log);
    let buyers = schedule.buyers();
    let progress = Progress::new(buyers);
    let (sampler, seen) =
        run_load_phase(arguments, &context, workload, schedule, &interrupt, progress).await?;

    let timeout = if seen.ending == Ending::Silent { SILENCE } else { arguments.settle_timeout };
    let deadline = Instant::now() + timeout;
    let tickets = context.run_log.request_log().tickets().len() as u64;
    sampler.progress.next("Following every ticket until it is final", tickets);
    proof::follow_all(&context.run_log, &context.instances, deadline, |done| sampler.progress.step(done))
        .await;
    sampler.progress.next("Verifying the rules", tickets);
    // If the database cannot be read, the proof fails.
    let _ = read_database_clock(settings, &context.run_log).await;
    let journalled = context.run_log.close(interrupt.was_asked());
    let (database, facts) = (settings.database.as_ref(), RunFacts::default());
    let proof = proof::prove(&context.run_log, &header, &context.followers, database, &facts).await;
    sampler.progress.end();

    let mut report = crate::report::build(arguments, &context, &header, buyers, seen, baselines, proof);
    if let Err(error) = journalled {
        report.verdict.reasons.push(format!("the journal is incomplete: {error:#}"));
    }
    write_report(&report, arguments)?;
    Ok(match (report.verdict.was_interrupted, report.verdict.has_passed()) {
        (true, _) if report.proof.violations.is_empty() => ExitCode::from(EXIT_CODE),
        (_, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Records the time of the database's clock, for the comparison of refusals with sales.
async fn read_database_clock(settings: &Settings, run_log: &RunLog) -> Result<()> {
    match &settings.database {
        Some(database) => database_clock::read_clock(run_log, database).await,
        None => Ok(()),
    }
}

/// Prints the report, and writes it in the requested formats.
fn write_report(report: &Report, arguments: &RunArguments) -> Result<()> {
    say(format!("\n{}", summary(report)));
    say(format!("Journal: {}", report.run.journal));
    if let Some(path) = &arguments.json {
        report.write_json(path)?;
        say(format!("JSON report: {}", path.display()));
    }
    if let Some(path) = &arguments.html {
        report.write_html(path)?;
        say(format!("HTML report: {}", path.display()));
    }
    Ok(())
}

fn context(
    arguments: &RunArguments,
    client: Client,
    name: String,
    seat_pool: SeatPool,
    schedule: &Schedule,
) -> Result<(Arc<RunContext>, Header)> {
    let RunArguments { scenario, target, seed, follow, .. } = *arguments;
    let is_exclusive = arguments.concert.is_empty();
    let mut header = Header::new(
        name.clone(),
        scenario.name(),
        target,
        arguments.url.clone(),
        seat_pool.concerts.clone(),
        is_exclusive,
    );
    header.other_urls.clone_from(&arguments.other_url);
    let start = Instant::now();
    header.started = Clock::system().now().unix_millis();
    let path =
        arguments.journal.clone().unwrap_or_else(|| PathBuf::from(format!("hamro-loadtest-{name}.journal")));
    let followers = Client::new(&arguments.url, FOLLOWERS_MAX, arguments.timeout)?;
    let clients = [followers.clone()].into_iter().chain(others(arguments)?);
    let instances: Vec<Instance> =
        (0..).zip(clients).map(|(number, client)| Instance { number, client }).collect();
    let run_log = Arc::new(RunLog::open(Journal::create(&path)?, &header, start));
    let context = RunContext {
        target,
        followers,
        instances,
        booking: Instance { number: 0, client },
        metrics: Metrics::default(),
        recorded: RecordedClient::new(name, run_log.clone(), Pace::default()),
        run_log,
        seed,
        seat_pool,
        follow,
        follow_share: arguments.follow_share.unwrap_or((FOLLOWED.0 / schedule.rate()).clamp(FOLLOWED.1, 1.0)),
        start,
        give_up: CancellationToken::new(),
    };
    Ok((Arc::new(context), header))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn duplicate_process_names_are_rejected() {
        let check_of = |more: &[&str]| {
            let line = [&["hamro-loadtest", "run", "rush", "--watch", "worker=1"], more].concat();
            let Command::Run(arguments) = Arguments::parse_from(line).command else { unreachable!() };
            check(&arguments)
        };
        assert!(check_of(&["--watch", "worker-2=2", "--cost", "postgres=3"]).is_ok());
        for more in [["--watch", "worker=2"], ["--cost", "worker=2"]] {
            assert!(check_of(&more).unwrap_err().to_string().contains("'worker'"), "{more:?}");
        }
    }
}
