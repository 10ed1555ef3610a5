//! The phases of a run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hamro_shared::domain::Clock;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::arguments::{ReportOutput, RunArguments};
use crate::buyers::{SeatChoice, Workload};
use crate::clean::remove_all;
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::load_phase::run_load_phase;
use crate::metrics::Metrics;
use crate::prepare::{FOLLOWERS_MAX, Limits, OTHERS_MAX, check, prepare_seats, raise_file_limit};
use crate::report::{BaselineReport, Ending, Progress, Report, counted, print, summary};
use crate::run_context::RunContext;
use crate::sampler::SILENCE;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::visits::{VisitLimits, Visits};
use hamro_verification::catalogue::{CatalogueSetup, SeatPool};
use hamro_verification::database_clock;
use hamro_verification::follow::Pace;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;
use hamro_verification::journal::{Header, Journal};
use hamro_verification::proof::{self, RunFacts};
use hamro_verification::recorded_client::RecordedClient;
use hamro_verification::run_log::RunLog;

/// The default number of tickets followed per second during the run, and the minimum share.
const FOLLOWED: (f64, f64) = (200.0, 0.01);

pub async fn run(arguments: RunArguments, settings: Settings) -> Result<ExitCode> {
    let schedule = check(&arguments)?;
    let interrupt = Interrupt::listen()?;
    let streams_max = raise_file_limit(&arguments)?;
    let client = Client::new(&arguments.url, Limits::of(&arguments).bookings, arguments.timeout)?;
    for client in [&client].into_iter().chain(&others(&arguments)?) {
        client.get("/concerts?limit=1").await.with_context(|| format!("{client} does not respond"))?;
    }
    let name = run_name();
    let preparing = prepare_seats(&arguments, &settings, &client, &name, schedule.buyers());
    let Some(seat_pool) = interrupt.stop.run_until_cancelled(preparing).await else {
        bail!("interrupted while creating the concert 'Load test {name}': `hamro-loadtest clean` removes it");
    };
    let seat_pool = seat_pool?;
    let visits = match prepare_visits(&arguments, &client, &seat_pool, streams_max).await {
        Ok(visits) => visits,
        Err(error) => {
            if let (Some(token), true) = (&settings.admin_token, arguments.concert.is_empty()) {
                print(remove_created(&client, token, &seat_pool).await)?;
            }
            return Err(error);
        }
    };
    let (context, header) = context(&arguments, client.clone(), name, seat_pool.clone(), &schedule, visits)?;
    let report = Box::pin(measure(&arguments, &settings, context, header, schedule, interrupt)).await;
    if arguments.concert.is_empty() {
        print(clean_up(&arguments, &settings, &client, &seat_pool, report.as_ref().ok()).await)?;
    }
    Ok(exit_code(&report?))
}

/// Unique among load generators that start in the same millisecond, because it is part of buyers' e-mail addresses and
/// of idempotency keys.
pub fn run_name() -> String {
    format!("{:x}-{:04x}", Clock::system().now().unix_millis(), rand::random::<u16>())
}

/// Removes the created concerts if nobody needs them, and says what was done. After a run they are needed to verify its
/// journal; after a violation they are evidence.
async fn clean_up(
    arguments: &RunArguments,
    settings: &Settings,
    client: &Client,
    seat_pool: &SeatPool,
    report: Option<&Report>,
) -> String {
    let is_unused = report.is_some_and(|report| report.proof.tickets == 0 && report.proof.ambiguous == 0);
    let may_be_removed = arguments.clean && report.is_some_and(|report| report.proof.violations.is_empty());
    match &settings.admin_token {
        Some(token) if is_unused || may_be_removed => remove_created(client, token, seat_pool).await,
        _ => format!(
            "{} kept, so that `hamro-loadtest verify` can repeat the verification. `hamro-loadtest clean` removes \
             the concerts of all load tests.",
            counted(seat_pool.concerts.len() as u64, "concert", "concerts")
        ),
    }
}

/// Removes the created concerts, and says what was done.
async fn remove_created(client: &Client, token: &SecretString, seat_pool: &SeatPool) -> String {
    let concerts = seat_pool.concerts.iter().map(|concert| concert.id);
    remove_all(&CatalogueSetup::new(client, token), concerts).await.text
}

/// Finds out what the booking page requests, in the scenario `opening`.
async fn prepare_visits(
    arguments: &RunArguments,
    client: &Client,
    seat_pool: &SeatPool,
    streams: u64,
) -> Result<Option<Visits>> {
    let Some(opening) = arguments.opening.of(arguments.scenario)? else { return Ok(None) };
    let concerts: Vec<Uuid> = seat_pool.concerts.iter().map(|concert| concert.id).collect();
    let limits =
        VisitLimits { connections: Limits::of(arguments).visits, streams, timeout: arguments.timeout };
    Visits::prepare(opening, client, &concerts, limits).await.map(Some)
}

pub fn exit_code(report: &Report) -> ExitCode {
    match (report.verdict.was_interrupted, report.verdict.has_passed()) {
        (true, _) if report.proof.violations.is_empty() => ExitCode::from(EXIT_CODE),
        (_, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Clients for the other instances.
fn others(arguments: &RunArguments) -> Result<Vec<Client>> {
    arguments.other_url.iter().map(|url| Client::new(url, OTHERS_MAX, arguments.timeout)).collect()
}

async fn measure(
    arguments: &RunArguments,
    settings: &Settings,
    context: Arc<RunContext>,
    header: Header,
    schedule: Schedule,
    interrupt: Interrupt,
) -> Result<Report> {
    let baselines: Vec<BaselineReport> =
        arguments.baseline.iter().map(|path| BaselineReport::read(path)).collect::<Result<_>>()?;
    let RunArguments { scenario, keys, seed, .. } = *arguments;
    let seat_choice = SeatChoice { scenario, group_size: arguments.group_size(), keys, seed };
    let workload = Workload::new(seat_choice, &context.seat_pool.seats);
    read_database_clock(settings, &context.run_log).await?;
    interrupt.flush_on_exit(&context.run_log);
    let buyers = schedule.buyers();
    let progress = Progress::new(buyers);
    let (sampler, load) =
        run_load_phase(arguments, &context, workload, schedule, &interrupt, progress).await?;

    let timeout = if load.ending == Ending::TargetStopped { SILENCE } else { arguments.settle_timeout };
    let deadline = Instant::now() + timeout;
    let tickets = context.run_log.request_log().tickets().len() as u64;
    sampler.progress.next("Following every ticket until it is final", tickets);
    proof::follow_all(&context.run_log, &context.instances, deadline, |done| sampler.progress.step(done))
        .await;
    sampler.progress.next("Verifying the rules", tickets);
    // If the database cannot be read, the proof fails.
    let _ = read_database_clock(settings, &context.run_log).await;
    let journalled = context.run_log.close(interrupt.was_requested());
    let (database, facts) = (settings.database.as_ref(), RunFacts::default());
    let proof = proof::prove(&context.run_log, &header, &context.followers, database, &facts).await;
    sampler.progress.end();

    let mut report = crate::report::build(arguments, &context, &header, buyers, load, baselines, proof);
    if let Err(error) = journalled {
        report.verdict.reasons.push(format!("the journal is incomplete: {error:#}"));
    }
    print(format!("\n{}", summary(&report)))?;
    print(format!("Journal: {}", report.run.journal))?;
    arguments.output.write(&report)?;
    Ok(report)
}

/// Records the time of the database's clock, for the comparison of refusals with sales.
async fn read_database_clock(settings: &Settings, run_log: &RunLog) -> Result<()> {
    match &settings.database {
        Some(database) => database_clock::read_clock(run_log, database).await,
        None => Ok(()),
    }
}

impl ReportOutput {
    /// Writes the report in the requested formats.
    pub fn write(&self, report: &Report) -> Result<()> {
        if let Some(path) = &self.json {
            report.write_json(path)?;
            print(format!("JSON report: {}", path.display()))?;
        }
        if let Some(path) = &self.html {
            report.write_html(path)?;
            print(format!("HTML report: {}", path.display()))?;
        }
        Ok(())
    }
}

fn context(
    arguments: &RunArguments,
    client: Client,
    name: String,
    seat_pool: SeatPool,
    schedule: &Schedule,
    visits: Option<Visits>,
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
        visits,
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
