//! Logs: one line an event, for people or, with `LOG_FORMAT=json`, for machines. `RUST_LOG` sets what is shown.
//!
//! An id stands in the sentence and as a field (`ticket.id`, `batch.size`, `duration_ms`); a name or an e-mail
//! address never does.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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

/// Starts logging, for the rest of the process's life.
pub fn start(config: &TelemetryConfig) {
    let filter = EnvFilter::new(&config.filter.0);
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stdout().is_terminal());
    match config.format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
