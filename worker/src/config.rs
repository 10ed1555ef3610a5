//! The worker's settings.

use std::time::Duration;

use hamro_shared::config::{ConfigError, Env};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::queue::BrokerConfig;
use hamro_shared::telemetry::{LogIds, LogKey, TelemetryConfig};

use crate::pipeline::consumer::ConsumerConfig;
use crate::readiness::HealthConfig;
use crate::recovery::poison::PoisonConfig;

pub struct Config {
    pub telemetry: TelemetryConfig,
    pub log_ids: LogIds,
    pub database: DatabaseConfig,
    pub broker: BrokerConfig,
    pub consumer: ConsumerConfig,
    pub poison: PoisonConfig,
    pub health: HealthConfig,
    /// How long the batches in flight may take after a shutdown signal.
    pub shutdown_timeout: Duration,
}

impl Config {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        hamro_shared::faults::init_from_env(&mut env);
        let telemetry = TelemetryConfig::read(&mut env);
        let log_key = LogKey::read(&mut env);
        let database = DatabaseConfig::read(&mut env);
        let broker = BrokerConfig::read(&mut env);
        let consumer = ConsumerConfig::read(&mut env);
        let poison = PoisonConfig::read(&mut env);
        let health = HealthConfig::read(&mut env);
        let shutdown_timeout =
            env.or_default("SHUTDOWN_TIMEOUT", Duration::from_secs(30), "a duration such as 30s");
        let built = (|| {
            Some(Self {
                telemetry: telemetry?,
                // Without a key that is shared with the api, log ids differ between processes.
                log_ids: log_key?.map_or_else(LogIds::random, |key| LogIds::new(&key)),
                database: database?,
                broker: broker?,
                consumer: consumer?,
                poison: poison?,
                health: health?,
                shutdown_timeout: shutdown_timeout?,
            })
        })();
        env.finish(built)
    }
}
