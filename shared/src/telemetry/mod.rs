//! Logging: one line per event, as text or, with `LOG_FORMAT=json`, as JSON. `RUST_LOG` is the filter.
//!
//! Logging never blocks, slows down or ends the process. Lines wait in a bounded queue (`queue`) for a dedicated writer
//! thread (`writer`); lines that do not fit are dropped and counted. The lines per second of each call site are limited
//! (`line_limit`). Failed requests are counted and logged once a second (`tally`).
//!
//! Names and e-mail addresses are never logged. Call sites log a ticket as the field `ticket.log_id`. The queue also
//! replaces every ticket id in a line by its log id, a keyed hash (`log_ids`).

mod line_counts;
mod line_limit;
mod log_ids;
pub mod metrics;
mod panics;
mod queue;
mod stderr;
mod tally;
pub mod traces;
mod writer;

use std::io::{IsTerminal, stdout};
use std::sync::Arc;

use anyhow::Context;
use tracing::{Subscriber, warn};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use self::line_limit::CHANGES;
use self::line_limit::LineLimit;
pub use self::log_ids::{LogId, LogIds, LogKey};
use self::queue::LineQueue;
pub use self::stderr::{report_failure, write_to_stderr};
pub use self::tally::{Sample, Tally};
pub use self::writer::Logging;
use crate::config::{Env, Setting, Warnings};

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

/// Libraries describe each failure of their own at WARN; what it means for the program is logged where it is handled.
/// Clients cause the warnings of h2 and hyper, as often as they like.
const DEFAULT_FILTER: &str = "info,lapin=warn,sqlx=warn,h2=error,hyper=error";

/// A filter in the syntax of `tracing_subscriber::EnvFilter`.
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
    /// About all settings, to be logged first.
    warnings: Warnings,
}

impl TelemetryConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let format =
            env.variable("LOG_FORMAT", "Format of the log lines.", "text or json").or_default("text");
        let filter = env
            .variable(
                "RUST_LOG",
                "Which lines are logged: a level, and levels of single modules (docs/LOGGING.md).",
                "a filter such as info,hamro_api=debug",
            )
            .or_default(DEFAULT_FILTER);
        Some(Self { format: format?, filter: filter?, warnings: env.warnings() })
    }
}

/// Starts logging to stdout, including panics. Dropping the returned value writes the lines that are still queued.
pub fn start(config: &TelemetryConfig, log_ids: LogIds) -> anyhow::Result<Logging> {
    let queue = Arc::new(LineQueue::new(log_ids));
    let limit = LineLimit::default();
    // Reports of dropped lines and of panics pass any filter.
    let own: Directive = "hamro_shared::telemetry=info".parse().context("the filter for telemetry")?;
    let filter = EnvFilter::try_new(&config.filter.0).context("RUST_LOG")?.add_directive(own);
    Registry::default()
        .with(filter)
        .with(limit.clone())
        .with(format(config.format, queue.clone()))
        .try_init()
        .context("logging was already started")?;
    panics::log_panics();
    for warning in config.warnings.take() {
        warn!("a setting should be changed: {warning}");
    }
    Logging::start(queue, limit).context("starting the log writer thread")
}

fn format<S>(format: LogFormat, queue: Arc<LineQueue>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // By default, the layer reports its own errors to stderr, which may be full or closed.
    let layer = fmt::layer().with_ansi(stdout().is_terminal()).log_internal_errors(false).with_writer(queue);
    match format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}
