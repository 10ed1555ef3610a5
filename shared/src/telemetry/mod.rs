//! Logs: one line an event, for people or, with `LOG_FORMAT=json`, for machines. `RUST_LOG` sets what is shown.
//!
//! Writing a log never blocks, slows down or ends the process: lines wait in a bounded queue (`queue`), a thread of its own
//! writes them (`writer`), and what does not fit is dropped and counted. Each place in the code may log so many lines a
//! second (`line_limit`); what requests cause is counted and logged once a second (`tally`).
//!
//! A name or an e-mail address is never logged. Call sites log a ticket's id as the field `ticket.log_id`; the queue replaces
//! every ticket id in a line by its log id, a keyed hash (`log_ids`).

mod line_limit;
mod log_ids;
mod panics;
mod queue;
mod stderr;
mod tally;
mod writer;

use std::io::{IsTerminal, stdout};
use std::sync::Arc;

use anyhow::Context;
use tracing::Subscriber;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use self::line_limit::LineLimit;
pub use self::log_ids::{LogId, LogIds, LogKey};
use self::queue::LineQueue;
pub use self::stderr::{report_failure, write_to_stderr};
pub use self::tally::Tally;
pub use self::writer::Logging;
use crate::config::{Env, Setting};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Setting for LogFormat {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What is logged, in the words of `tracing_subscriber::EnvFilter`.
#[derive(Clone, Debug)]
struct LogFilter(String);

impl Setting for LogFilter {
    fn parse(text: &str) -> Option<Self> {
        EnvFilter::try_new(text).ok().map(|_| Self(text.to_owned()))
    }
}

#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    format: LogFormat,
    filter: LogFilter,
}

impl TelemetryConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let format = env.or("LOG_FORMAT", LogFormat::Text, "text or json");
        let filter = env.or(
            "RUST_LOG",
            LogFilter("info,lapin=warn,sqlx=warn".to_owned()),
            "a filter such as info,hamro_api=debug",
        );
        Some(Self { format: format?, filter: filter? })
    }
}

/// Starts logging to stdout, panics included, for the rest of the process's life. What waits is written when the value that
/// this returns is dropped.
pub fn start(config: &TelemetryConfig, log_ids: LogIds) -> anyhow::Result<Logging> {
    let queue = Arc::new(LineQueue::new(log_ids));
    let limit = LineLimit::default();
    // What is said of dropped lines and of panics is shown whatever else is.
    let own: Directive = "hamro_shared::telemetry=info".parse().context("the filter of our own lines")?;
    let filter = EnvFilter::try_new(&config.filter.0).context("RUST_LOG")?.add_directive(own);
    Registry::default()
        .with(filter)
        .with(limit.clone())
        .with(format(config.format, queue.clone()))
        .try_init()
        .context("logging has been started already")?;
    panics::log_panics();
    Logging::start(queue, limit).context("starting the thread that writes the log")
}

fn format<S>(format: LogFormat, queue: Arc<LineQueue>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // By default it reports errors of its own to stderr, which may be full or closed.
    let layer = fmt::layer().with_ansi(stdout().is_terminal()).log_internal_errors(false).with_writer(queue);
    match format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}
