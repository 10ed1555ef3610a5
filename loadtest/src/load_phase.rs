//! The load phase of a run: buyers arrive at their due times, and then the queue drains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arguments::RunArguments;
use crate::buyers::Workload;
use crate::interrupt::Interrupt;
use crate::pacer::{Arrival, Pacer};
use crate::prepare::Limits;
use crate::report::{Ending, LoadPhaseResult, Progress};
use crate::run_context::RunContext;
use crate::sampler::{SILENCE, Sampler};
use crate::schedule::Schedule;
use hamro_verification::http::Client;
use hamro_verification::machine::CpuMark;
use hamro_verification::processes::{CostMark, Process};
use hamro_verification::proof;

/// The minimum number of connections opened before the first buyer is due, because buyers have the page open when a
/// sale begins. More are opened if more buyers arrive in `WARM_TIME` seconds.
const WARM: usize = 64;
const WARM_TIME: f64 = 0.1;
/// How long before `--start-at` these connections are opened.
const WARM_UP: Duration = Duration::from_secs(1);
/// Timeout of a request for the queue length.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(900);

/// Starts the buyers, and waits until the queue is drained.
pub async fn run_load_phase(
    arguments: &RunArguments,
    context: &Arc<RunContext>,
    workload: Workload,
    schedule: Schedule,
    interrupt: &Interrupt,
    progress: Progress,
) -> Result<(Arc<Sampler>, LoadPhaseResult)> {
    workload.prepare(context).await?;
    // Servers close connections on which no request arrives for some time.
    wait_until_start(arguments.start_at.map(|at| at - WARM_UP), interrupt).await?;
    warm_up(arguments, context).await?;
    let named = [arguments.watch.as_slice(), &arguments.cost].concat();
    let idle = measure_idle(&named, arguments.idle(), interrupt).await;
    let _ = wait_until_start(arguments.start_at, interrupt).await;
    let (mark, others) = (CpuMark::now(), CostMark::now(&named));
    let sampler = Arc::new(Sampler {
        context: context.clone(),
        client: Client::new(&arguments.url, 2, QUEUE_TIMEOUT)?,
        watched: arguments.watch.clone(),
        progress,
        begin: Instant::now(),
        stop: interrupt.stop.clone(),
        is_silent: AtomicBool::new(false),
    });
    let (begin, done, buyers) = (sampler.begin, CancellationToken::new(), TaskTracker::new());
    let pacer = Pacer::new(schedule, begin, interrupt.stop.clone())?;
    let sampling = tokio::spawn({
        let (sampler, done) = (sampler.clone(), done.clone());
        async move { sampler.run(done).await }
    });
    let driven = drive(context, workload, pacer, &buyers).await;
    let arrivals = begin.elapsed();
    let basis = context.cost_basis();
    let (loader, costs) = (mark.cost(basis), others.costs(basis));

    let is_silent = || sampler.is_silent.load(Ordering::Relaxed);
    settle_down(context, &buyers, if is_silent() { SILENCE } else { arguments.settle_timeout }).await;
    done.cancel();
    sampling.await?;
    driven?;
    let ending = match (interrupt.was_requested(), is_silent()) {
        (true, _) => Ending::Interrupted,
        (_, true) => Ending::TargetStopped,
        _ => Ending::Complete,
    };
    let visits = match &context.visits {
        Some(visits) => Some(visits.totals().await),
        None => None,
    };
    Ok((sampler, LoadPhaseResult { ending, first_due: begin, arrivals, loader, costs, idle, visits }))
}

/// Waits until this time. It must not have passed, because other load generators start at the same time.
#[expect(clippy::disallowed_methods, reason = "the user has chosen when the run starts")]
async fn wait_until_start(at: Option<SystemTime>, interrupt: &Interrupt) -> Result<()> {
    let Some(at) = at else { return Ok(()) };
    let Ok(left) = at.duration_since(SystemTime::now()) else {
        bail!("the time of --start-at had passed when everything was prepared: choose a later one");
    };
    interrupt.stop.run_until_cancelled(tokio::time::sleep(left)).await;
    Ok(())
}

/// Opens connections, of which a visit needs several at a time.
async fn warm_up(arguments: &RunArguments, context: &RunContext) -> Result<()> {
    let limits = Limits::of(arguments);
    context.booking.client.warm(warm(arguments.rate).min(limits.bookings)).await?;
    match &context.visits {
        Some(visits) => visits.warm((2 * warm(arguments.rate)).min(limits.visits)).await,
        None => Ok(()),
    }
}

/// The CPU time that each process takes while nobody buys, in percent of one core. Empty if it is not to be measured.
#[expect(clippy::disallowed_methods, reason = "measures for a fixed time")]
async fn measure_idle(processes: &[Process], time: Duration, interrupt: &Interrupt) -> BTreeMap<String, f64> {
    if processes.is_empty() || time.is_zero() {
        return BTreeMap::new();
    }
    let mark = CostMark::now(processes);
    interrupt.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    mark.costs(1).into_iter().map(|(name, cost)| (name, cost.cpu_percent)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the result is a number of connections"
)]
fn warm(rate: f64) -> usize {
    WARM.max((rate * WARM_TIME) as usize)
}

/// Starts every buyer at the due time, without waiting for responses.
async fn drive(
    context: &Arc<RunContext>,
    workload: Workload,
    mut pacer: Pacer,
    buyers: &TaskTracker,
) -> Result<()> {
    let workload = Arc::new(workload);
    while let Some(Arrival { number, due }) = pacer.next().await? {
        let (context, workload) = (context.clone(), workload.clone());
        buyers.spawn(async move { workload.run_buyer(&context, number, due).await });
    }
    Ok(())
}

/// Waits until all buyers have their responses and the last tickets are final.
async fn settle_down(context: &Arc<RunContext>, buyers: &TaskTracker, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    buyers.close();
    // Requests end by their timeout. Buyers who follow a ticket are cancelled.
    let _ = tokio::time::timeout_at(deadline.into(), buyers.wait()).await;
    context.give_up.cancel();
    buyers.wait().await;
    proof::drain(&context.run_log, &context.instances[0], deadline).await;
}
