//! Shutdown: drain, stop accepting work, finish work in progress, exit.
//!
//! On SIGTERM or SIGINT the process begins to *drain*: it reports that it is not ready, and goes on working for a while,
//! until nobody sends it work any more. Then the *work* tasks are asked to stop; each finishes its work in progress and
//! returns. Once all of them have ended, the *support* tasks, on which the work depends, are asked to stop. A second
//! signal or the deadline ends the process at once. That loses nothing, because the broker redelivers unacknowledged
//! messages. A task that ends unexpectedly ends the process, so that it does not keep running without the task.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub struct Lifecycle {
    draining: CancellationToken,
    work: Group,
    support: Group,
    signals: Signals,
}

/// Runs a program. Once it has ended, nothing that its libraries still do is waited for: looking up the name of a server
/// may take minutes.
pub fn block_on(program: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = Runtime::new().expect("the tokio runtime cannot be started");
    let code = runtime.block_on(program);
    runtime.shutdown_background();
    code
}

/// How long the phases of a shutdown may take.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownLimits {
    /// From the signal until the process ends.
    pub total: Duration,
    /// From the signal until the work tasks are asked to stop.
    pub drain: Duration,
}

impl ShutdownLimits {
    /// Without draining: for a process that nobody sends work to.
    pub fn without_drain(total: Duration) -> Self {
        Self { total, drain: Duration::ZERO }
    }
}

/// Tasks that are asked to stop together.
struct Group {
    stop: CancellationToken,
    tasks: JoinSet<Ended>,
    /// The names of those that have not been seen to end.
    running: Vec<&'static str>,
}

/// The name of a task that has ended, and its result.
type Ended = (&'static str, Result<()>);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Lifecycle {
    /// Installs the signal handlers.
    pub fn new() -> Result<Self> {
        let signals = Signals {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        };
        Ok(Self { draining: CancellationToken::new(), work: Group::new(), support: Group::new(), signals })
    }

    /// Cancelled once the process has received a signal. It still accepts work until [`stopping`](Self::stopping).
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Cancelled once the process should accept no more work.
    pub fn stopping(&self) -> CancellationToken {
        self.work.stop.clone()
    }

    /// Spawns a task that accepts work. It is asked to stop first, by the token that it receives.
    pub fn work<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.work.spawn(name, task);
    }

    /// Spawns a task that the work depends on. It is asked to stop once all work tasks have ended.
    pub fn support<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.support.spawn(name, task);
    }

    /// Runs until all tasks have ended. Reports the result in the log and as the exit code.
    pub async fn run_to_exit(self, limits: ShutdownLimits) -> ExitCode {
        match self.run(limits).await {
            Ok(()) => {
                info!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => {
                error!("stopped: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// Succeeds if all tasks end in order after a signal. Fails if a task fails, ends without a signal, or has not
    /// ended within the limit.
    async fn run(mut self, limits: ShutdownLimits) -> Result<()> {
        let mut ended_early = tokio::select! {
            name = self.signals.next() => {
                info!("{name} received: finishing work in progress");
                None
            }
            ended = self.work.next() => Some(ended),
            ended = self.support.next() => Some(ended),
        };
        let deadline = Instant::now() + limits.total;
        self.draining.cancel();
        if ended_early.is_none() {
            ended_early = self.drain(limits.drain).await?;
        }
        let stopped = tokio::select! {
            result = timeout_at(deadline, stop_in_order(&mut self.work, &mut self.support)) => {
                result.map_err(|_| self.timed_out(limits.total)).flatten()
            }
            name = self.signals.next() => Err(received_again(name)),
        };
        match ended_early {
            None => stopped,
            Some((name, result)) => {
                if let Err(error) = stopped {
                    warn!("shutdown failed: {error:#}");
                }
                result.with_context(|| format!("task {name} failed"))?;
                bail!("task {name} ended unexpectedly");
            }
        }
    }

    fn timed_out(&self, limit: Duration) -> anyhow::Error {
        let running = [self.work.running.as_slice(), &self.support.running].concat().join(", ");
        anyhow!("shutdown timed out after {limit:?}: abandoning {running}")
    }

    /// Goes on working for `delay`. Returns a task that has ended meanwhile. Fails at a second signal.
    async fn drain(&mut self, delay: Duration) -> Result<Option<Ended>> {
        if delay.is_zero() {
            return Ok(None);
        }
        info!("draining: not ready, but still accepting work for {delay:?}");
        tokio::select! {
            elapsed = timeout(delay, self.signals.next()) => match elapsed {
                Ok(name) => Err(received_again(name)),
                Err(_) => Ok(None),
            },
            ended = self.work.next() => Ok(Some(ended)),
            ended = self.support.next() => Ok(Some(ended)),
        }
    }
}

fn received_again(name: &str) -> anyhow::Error {
    anyhow!("{name} received again: abandoning work in progress")
}

async fn stop_in_order(work: &mut Group, support: &mut Group) -> Result<()> {
    work.stop().await?;
    support.stop().await
}

impl Group {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: JoinSet::new(), running: Vec::new() }
    }

    fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.running.push(name);
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits for a task to end. Never returns if there is none.
    async fn next(&mut self) -> Ended {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(ended)) => ended,
            // The error of a task that panicked does not carry its name.
            Some(Err(error)) => ("(unnamed)", Err(error.into())),
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            let (name, result) = ended.context("a task panicked")?;
            self.running.retain(|running| *running != name);
            result.with_context(|| format!("task {name} failed"))?;
        }
        Ok(())
    }
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: ShutdownLimits =
        ShutdownLimits { total: Duration::from_mins(1), drain: Duration::from_mins(1) };

    #[tokio::test]
    async fn a_task_that_ends_unexpectedly_ends_the_process() {
        let mut lifecycle = Lifecycle::new().unwrap();
        lifecycle.work("stable", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        lifecycle.support("unstable", |_| async { Ok(()) });
        let error = lifecycle.run(LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "task unstable ended unexpectedly");
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_process() {
        let mut lifecycle = Lifecycle::new().unwrap();
        lifecycle.work("broken", |_| async { panic!("on purpose") });
        assert!(lifecycle.run(LONG).await.is_err());
    }

    #[tokio::test]
    async fn a_shutdown_that_times_out_names_the_tasks_that_have_not_ended() {
        let mut lifecycle = Lifecycle::new().unwrap();
        lifecycle.support("stuck", |_| std::future::pending());
        lifecycle.support("prompt", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        let Lifecycle { work, support, .. } = &mut lifecycle;
        assert!(timeout(Duration::from_millis(100), stop_in_order(work, support)).await.is_err());
        let error = lifecycle.timed_out(Duration::from_secs(30)).to_string();
        assert_eq!(error, "shutdown timed out after 30s: abandoning stuck");
    }

    #[tokio::test]
    async fn support_tasks_outlive_the_work_tasks() {
        let mut lifecycle = Lifecycle::new().unwrap();
        let (work_ended, wait_for_work) = tokio::sync::oneshot::channel();
        let stopping = lifecycle.stopping();
        lifecycle.work("work", |stop| async move {
            stop.cancelled().await;
            work_ended.send(()).map_err(|()| anyhow!("support ended before the work"))
        });
        lifecycle.support("support", |stop| async move {
            stop.cancelled().await;
            wait_for_work.await.context("support was asked to stop before the work had ended")
        });
        lifecycle.work("stopper", |_| async move {
            stopping.cancel();
            Ok(())
        });
        let error = lifecycle.run(LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "task stopper ended unexpectedly");
    }
}
