//! How a process ends: stop taking work, finish what is in hand, then go.
//!
//! SIGTERM or SIGINT asks the *work* to stop; each task finishes what it holds and returns. Once all work has
//! ended, the *support* (what the work needed until its last moment) is asked as well. A second signal, or the
//! deadline, ends the process at once: nothing is lost by that, as what was not acknowledged comes back. A task
//! that ends unasked takes the process down, rather than leave it standing there without it.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub struct Lifecycle {
    work: Group,
    support: Group,
    signals: Signals,
}

/// Tasks that are asked to stop together.
struct Group {
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<()>)>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Lifecycle {
    /// Listens for signals from here on.
    pub fn new() -> Result<Self> {
        let signals = Signals {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        };
        Ok(Self { work: Group::new(), support: Group::new(), signals })
    }

    /// Cancelled once the process should take no more work.
    pub fn stopping(&self) -> CancellationToken {
        self.work.stop.clone()
    }

    /// A task that takes work: it is asked to stop first. It gets the token that asks it.
    pub fn work<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.work.spawn(name, task);
    }

    /// A task that the work depends on: it is asked to stop once all work has ended.
    pub fn support<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.support.spawn(name, task);
    }

    /// Runs to the end, and says in the log and to whoever started the process how it ended.
    pub async fn run_to_exit(self, deadline: Duration) -> ExitCode {
        match self.run(deadline).await {
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

    /// Runs until a signal has ended all tasks in order, which is success; or until a task fails, or ends unasked,
    /// or does not end within `deadline` of the signal.
    async fn run(mut self, deadline: Duration) -> Result<()> {
        let unasked = tokio::select! {
            name = self.signals.next() => {
                info!("{name}: finishing what is in hand");
                None
            }
            ended = self.work.next() => Some(ended),
            ended = self.support.next() => Some(ended),
        };
        let stopped = tokio::select! {
            result = tokio::time::timeout(deadline, stop_in_order(&mut self.work, &mut self.support)) => {
                result.map_err(|_| anyhow!("not done within {deadline:?}: leaving what is in hand")).flatten()
            }
            name = self.signals.next() => Err(anyhow!("{name} again: leaving what is in hand")),
        };
        match unasked {
            None => stopped,
            Some((name, result)) => {
                if let Err(error) = stopped {
                    warn!("while stopping: {error:#}");
                }
                result.with_context(|| format!("the task {name} failed"))?;
                bail!("the task {name} ended unasked");
            }
        }
    }
}

async fn stop_in_order(work: &mut Group, support: &mut Group) -> Result<()> {
    work.stop().await?;
    support.stop().await
}

impl Group {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: JoinSet::new() }
    }

    fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// The next task to end; never, if there is none.
    async fn next(&mut self) -> (&'static str, Result<()>) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(ended)) => ended,
            Some(Err(error)) => ("a task", Err(error.into())),
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            let (name, result) = ended.context("a task died")?;
            result.with_context(|| format!("the task {name} failed"))?;
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

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_task_that_ends_unasked_takes_the_process_down() {
        let mut lifecycle = Lifecycle::new().unwrap();
        lifecycle.work("steady", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        lifecycle.support("fickle", |_| async { Ok(()) });
        let error = lifecycle.run(LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the task fickle ended unasked");
    }

    #[tokio::test]
    async fn a_task_that_panics_takes_the_process_down() {
        let mut lifecycle = Lifecycle::new().unwrap();
        lifecycle.work("broken", |_| async { panic!("as the test has it") });
        assert!(lifecycle.run(LONG).await.is_err());
    }

    #[tokio::test]
    async fn support_outlives_the_work() {
        let mut lifecycle = Lifecycle::new().unwrap();
        let (work_ended, support_sees) = tokio::sync::oneshot::channel();
        let stopping = lifecycle.stopping();
        lifecycle.work("work", |stop| async move {
            stop.cancelled().await;
            work_ended.send(()).map_err(|()| anyhow!("support was gone first"))
        });
        lifecycle.support("support", |stop| async move {
            stop.cancelled().await;
            support_sees.await.context("support was asked to stop before the work had ended")
        });
        lifecycle.work("asks all to stop", |_| async move {
            stopping.cancel();
            Ok(())
        });
        let error = lifecycle.run(LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the task asks all to stop ended unasked");
    }
}
