//! The worker's settings.

use std::time::Duration;

use hamro_shared::config::shared_settings::read_shutdown_timeout;
use hamro_shared::config::{ConfigError, Env, Variable};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::queue::BrokerConfig;
use hamro_shared::telemetry::metrics::MetricsConfig;
use hamro_shared::telemetry::traces::TracesConfig;
use hamro_shared::telemetry::{LogIds, LogKey, TelemetryConfig};

use crate::audit::config::AuditConfig;
use crate::pipeline::consumer::ConsumerConfig;
use crate::readiness::HealthConfig;
use crate::recovery::poison::PoisonConfig;
use crate::settlement::customer_limit::CustomerLimit;

pub struct Config {
    pub telemetry: TelemetryConfig,
    pub log_ids: LogIds,
    pub traces: TracesConfig,
    pub database: DatabaseConfig,
    pub broker: BrokerConfig,
    pub consumer: ConsumerConfig,
    pub customer_limit: CustomerLimit,
    pub poison: PoisonConfig,
    pub audit: AuditConfig,
    pub health: HealthConfig,
    pub metrics: MetricsConfig,
    /// How long the batches in flight may take after a shutdown signal.
    pub shutdown_timeout: Duration,
}

impl Config {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        hamro_shared::faults::init_from_env(&mut env);
        let config = Self::read_sections(&mut env);
        env.finish(config)
    }

    /// The settings that the worker reads, for documentation.
    pub fn variables() -> Vec<Variable> {
        Env::variables_read_by(Self::read_sections)
    }

    fn read_sections(env: &mut Env) -> Option<Self> {
        // In the order in which the documentation lists them.
        let database = DatabaseConfig::read(env);
        let broker = BrokerConfig::read(env);
        let health = HealthConfig::read(env);
        let metrics = MetricsConfig::read(env);
        let consumer = ConsumerConfig::read(env);
        let customer_limit = CustomerLimit::read(env);
        let poison = PoisonConfig::read(env);
        let audit = AuditConfig::read(env);
        let shutdown_timeout = read_shutdown_timeout(env);
        let telemetry = TelemetryConfig::read(env);
        let log_key = LogKey::read(env);
        let traces = TracesConfig::read(env);
        Some(Self {
            telemetry: telemetry?,
            // Without a key that is shared with the api, log ids differ between processes.
            log_ids: log_key?.map_or_else(LogIds::random, |key| LogIds::new(&key)),
            traces: traces?,
            database: database?,
            broker: broker?,
            consumer: consumer?,
            customer_limit: customer_limit?,
            poison: poison?,
            audit: audit?,
            health: health?,
            metrics: metrics?,
            shutdown_timeout: shutdown_timeout?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_settings_are_sufficient() {
        let env = Env::of(&[
            ("DATABASE_URL", "postgres://localhost/hamro"),
            ("AMQP_URL", "amqp://localhost:5672/%2f"),
        ]);
        assert_eq!(Config::read(env).err(), None);
    }

    #[test]
    fn a_limit_of_no_seats_is_refused_by_name() {
        let env = Env::of(&[
            ("DATABASE_URL", "postgres://localhost/hamro"),
            ("AMQP_URL", "amqp://localhost:5672/%2f"),
            ("SEATS_PER_CUSTOMER", "0"),
            ("IGNORE_EMAIL_TAGS", "perhaps"),
        ]);
        let error = Config::read(env).err().unwrap().to_string();
        assert!(error.contains("SEATS_PER_CUSTOMER") && error.contains("IGNORE_EMAIL_TAGS"), "{error}");
    }
}
