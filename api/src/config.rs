//! The api's settings.

use std::num::NonZeroU16;
use std::time::Duration;

use hamro_shared::config::shared_settings::{read_shutdown_timeout, read_ticket_keys};
use hamro_shared::config::{ConfigError, Env, Variable};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::lifecycle::ShutdownLimits;
use hamro_shared::queue::BrokerConfig;
use hamro_shared::telemetry::metrics::MetricsConfig;
use hamro_shared::telemetry::traces::TracesConfig;
use hamro_shared::telemetry::{LogIds, LogKey, TelemetryConfig};

use crate::booking_policy::BookingPolicy;
use crate::broker::publisher::PublisherConfig;
use crate::canary::CanaryConfig;
use crate::early_rejection::EarlyRejectionSetting;
use crate::http::admin_auth::AdminConfig;
use crate::retention::Retention;
use crate::server::config::HttpConfig;
use crate::startup_migration::SchemaConfig;

pub struct Config {
    pub telemetry: TelemetryConfig,
    pub log_ids: LogIds,
    pub traces: TracesConfig,
    pub database: DatabaseConfig,
    pub database_connections: NonZeroU16,
    pub broker: BrokerConfig,
    pub publisher: PublisherConfig,
    pub http: HttpConfig,
    pub metrics: MetricsConfig,
    pub schema: SchemaConfig,
    pub policy: BookingPolicy,
    pub early_rejection: EarlyRejectionSetting,
    pub admin: AdminConfig,
    pub retention: Retention,
    pub canary: CanaryConfig,
    pub shutdown: ShutdownLimits,
}

/// Session limits. A handler's statement that reaches one indicates a fault, not load.
pub const DATABASE_SESSION: &[(&str, &str)] =
    &[("idle_in_transaction_session_timeout", "10s"), ("statement_timeout", "10s"), ("lock_timeout", "5s")];

impl Config {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        hamro_shared::faults::init_from_env(&mut env);
        let config = Self::read_sections(&mut env);
        env.finish(config)
    }

    /// The settings that the api reads, for documentation.
    pub fn variables() -> Vec<Variable> {
        Env::variables_read_by(Self::read_sections)
    }

    fn read_sections(env: &mut Env) -> Option<Self> {
        // In the order in which the documentation lists them.
        let database = DatabaseConfig::read(env);
        let broker = BrokerConfig::read(env);
        let policy = BookingPolicy::read(env);
        let early_rejection = EarlyRejectionSetting::read(env);
        let admin = AdminConfig::read(env);
        let http = HttpConfig::read(env);
        let metrics = MetricsConfig::read(env);
        let publisher = PublisherConfig::read(env);
        let schema = SchemaConfig::read(env);
        // Accepting bookings needs no connection.
        let connections = env
            .variable(
                "DATABASE_CONNECTIONS",
                "Maximum number of database connections for requests. One more is open during start.",
                "a number such as 10",
            )
            .or_default("10");
        let retention = Retention::read(env);
        let canary = CanaryConfig::read(env);
        let shutdown = read_shutdown(env);
        let telemetry = TelemetryConfig::read(env);
        let log_key = LogKey::read(env);
        let traces = TracesConfig::read(env);
        let policy = policy?;
        let log_ids =
            log_key?.map_or_else(|| LogIds::of_ticket_keys(&policy.ticket_keys), |key| LogIds::new(&key));
        Some(Self {
            telemetry: telemetry?,
            log_ids,
            traces: traces?,
            database: database?,
            database_connections: connections?,
            broker: broker?,
            publisher: publisher?,
            http: http?,
            metrics: metrics?,
            schema: schema?,
            policy,
            early_rejection: early_rejection?,
            admin: admin?,
            retention: retention?,
            canary: canary?,
            shutdown: shutdown?,
        })
    }
}

/// Reads `DRAIN_DELAY` and `SHUTDOWN_TIMEOUT`.
fn read_shutdown(env: &mut Env) -> Option<ShutdownLimits> {
    let drain: Option<Duration> = env
        .variable(
            "DRAIN_DELAY",
            "How long to go on serving after SIGTERM or SIGINT, already not ready. At most half of SHUTDOWN_TIMEOUT.",
            "a duration such as 5s",
        )
        .or_default("5s");
    let total = read_shutdown_timeout(env)?;
    // Not an error: otherwise an installation with a short SHUTDOWN_TIMEOUT would not start after an upgrade.
    Some(ShutdownLimits { total, drain: drain?.min(total / 2) })
}

/// The settings of `hamro-api migrate`, `seed` and `person`.
pub struct SchemaCommandConfig {
    pub telemetry: TelemetryConfig,
    pub database: DatabaseConfig,
}

impl SchemaCommandConfig {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        let telemetry = TelemetryConfig::read(&mut env);
        let database = DatabaseConfig::read(&mut env);
        let built = (|| Some(Self { telemetry: telemetry?, database: database? }))();
        env.finish(built)
    }
}

/// The settings of `hamro-api declare`.
pub struct DeclareConfig {
    pub telemetry: TelemetryConfig,
    pub broker: BrokerConfig,
}

impl DeclareConfig {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        let telemetry = TelemetryConfig::read(&mut env);
        let broker = BrokerConfig::read(&mut env);
        let built = (|| Some(Self { telemetry: telemetry?, broker: broker? }))();
        env.finish(built)
    }
}

/// Reads the setting of `hamro-api log-id`: `LOG_KEY`, or else `TICKET_KEYS`.
pub fn log_ids(mut env: Env) -> Result<LogIds, ConfigError> {
    let log_ids = match LogKey::read(&mut env) {
        Some(Some(key)) => Some(LogIds::new(&key)),
        Some(None) => read_ticket_keys(&mut env).map(|keys| LogIds::of_ticket_keys(&keys)),
        None => None,
    };
    env.finish(log_ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 3] = [
        ("DATABASE_URL", "postgres://localhost/hamro"),
        ("AMQP_URL", "amqp://localhost:5672/%2f"),
        ("TICKET_KEYS", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ];

    fn read(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(Env::of(&[&COMPLETE, more].concat()))
    }

    #[test]
    fn three_settings_are_sufficient() {
        let config = read(&[]).unwrap();
        assert_eq!(config.http.address, "127.0.0.1:3000".parse().unwrap());
        assert_eq!(config.policy.max_seats, 10);
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = Config::read(Env::of(&[])).err().unwrap().to_string();
        for name in ["DATABASE_URL", "AMQP_URL", "TICKET_KEYS"] {
            assert!(error.contains(&format!("{name} is not set")), "{error}");
        }
    }

    #[test]
    fn draining_takes_at_most_half_of_the_time_for_shutdown() {
        for (variables, expected) in [
            (vec![], (30, 5)),
            (vec![("SHUTDOWN_TIMEOUT", "4s")], (4, 2)),
            (vec![("DRAIN_DELAY", "0s")], (30, 0)),
            (vec![("DRAIN_DELAY", "1m")], (30, 15)),
        ] {
            let limits = read(&variables).unwrap().shutdown;
            assert_eq!((limits.total.as_secs(), limits.drain.as_secs()), expected, "{variables:?}");
        }
    }

    #[test]
    fn an_invalid_setting_is_named_without_its_value() {
        let invalid = [
            ("DATABASE_URL", "mysql://localhost/hamro"),
            ("AMQP_URL", "http://localhost"),
            ("TICKET_KEYS", "short"),
            ("ADMIN_TOKEN", "short"),
            ("ADMIN_TOKENS", "alice=short"),
            ("ADMIN_FAILURES_MAX", "0"),
            ("PORT", "65536"),
            ("HOST", "here"),
            ("MAX_SEATS_PER_BOOKING", "0"),
            ("BOOKING_WAIT", "10"),
            ("BOOKING_WAIT", "16m"),
            ("BOOKING_DEADLINE", "0s"),
            ("MAX_WAIT", "2m"),
            ("BOOKING_WAIT", "61s"),
            ("CONFIRM_TIMEOUT", "11s"),
            ("RUST_LOG", "info=loud"),
            ("CORS_ORIGIN", "example.com"),
            ("MIGRATE_ON_START", "maybe"),
            ("LOG_FORMAT", "xml"),
            ("LOG_KEY", "short"),
            ("DATABASE_CONNECTIONS", "0"),
            ("RETENTION", "two years"),
            ("RETENTION", "2d"),
            ("RETENTION", "1000y"),
            ("PUBLISH_IN_FLIGHT_MAX", "0"),
            ("RATE_LIMIT_PER_SECOND", "0"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("STREAMS_MAX", "many"),
            ("EVENT_STREAMS", "axum"),
            ("HEAD_TIMEOUT", "0s"),
            ("BODY_TIMEOUT", "0s"),
            ("BODY_TIMEOUT", "61s"),
            ("DOCS", "maybe"),
            ("WRITE_TIMEOUT", "0s"),
            ("CONNECTIONS_MAX", "0"),
            ("STREAMS_MAX", "0"),
            ("STREAM_MAX_AGE", "0s"),
            ("WAITS_MAX", "0"),
            ("HTTP2_STREAMS_MAX", "0"),
            ("CLIENT_SHARE", "0"),
            ("CLIENT_SHARE", "101"),
            ("RESPONSE_BYTES_MAX", "0"),
            ("DRAIN_DELAY", "5"),
        ];
        for (name, value) in invalid {
            let others = COMPLETE.into_iter().filter(|(other, _)| *other != name);
            let variables: Vec<_> = others.chain([(name, value)]).collect();
            let error = Config::read(Env::of(&variables))
                .err()
                .unwrap_or_else(|| panic!("{name}={value}"))
                .to_string();
            assert!(error.contains(name) && error.contains("should"), "{error}");
            assert!(!error.contains("short") && !error.contains("mysql"), "{error}");
        }
    }
}
