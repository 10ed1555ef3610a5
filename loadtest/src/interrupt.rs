//! Ctrl-C. The first one stops the run in order; the second one ends the process at once.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use hamro_shared::telemetry::write_to_stderr;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use hamro_verification::run_log::RunLog;

/// The conventional exit code after Ctrl-C.
pub const EXIT_CODE: u8 = 130;

/// A run that can be interrupted.
#[derive(Clone, Default)]
pub struct Interrupt {
    /// Cancelled by the first signal, and by anything else that ends the arrivals.
    pub stop: CancellationToken,
    requested: CancellationToken,
    /// Written to disk before the process ends.
    run_log: Arc<OnceLock<Arc<RunLog>>>,
}

impl Interrupt {
    /// Installs the signal handlers.
    pub fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let (mut int, mut term) = (listener(SignalKind::interrupt())?, listener(SignalKind::terminate())?);
        let listening = interrupt.clone();
        tokio::spawn(async move {
            next(&mut int, &mut term).await;
            listening.requested.cancel();
            listening.stop.cancel();
            let ending = "Stopping: following accepted tickets until they are final. Press Ctrl-C again to exit at once.\n";
            write_to_stderr(ending.to_owned());
            next(&mut int, &mut term).await;
            if let Some(run_log) = listening.run_log.get() {
                write_to_stderr(match run_log.leave() {
                    Ok(()) => format!("Exited. Journal: {}\n", run_log.path()),
                    Err(error) => format!("Exited. The journal is incomplete: {error:#}\n"),
                });
            }
            std::process::exit(i32::from(EXIT_CODE));
        });
        Ok(interrupt)
    }

    /// Has this log written to disk before the process exits at the second signal.
    pub fn flush_on_exit(&self, run_log: &Arc<RunLog>) {
        let _ = self.run_log.set(run_log.clone());
    }

    pub fn was_requested(&self) -> bool {
        self.requested.is_cancelled()
    }
}

fn listener(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("listening for signals")
}

async fn next(int: &mut Signal, term: &mut Signal) {
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
