//! The worker's settings.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use hamro_shared::config::{ConfigError, Env};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::queue::BrokerConfig;
use hamro_shared::telemetry::TelemetryConfig;

pub struct Config {
    pub telemetry: TelemetryConfig,
    pub database: DatabaseConfig,
    pub broker: BrokerConfig,
    pub consumer: ConsumerConfig,
    /// How long the batch in hand may take once the process has been asked to stop.
    pub shutdown_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct ConsumerConfig {
    /// Bookings a transaction; whole parcels, so it may be exceeded by less than one.
    pub batch_max: NonZeroUsize,
    /// Parcels that the broker sends ahead.
    pub prefetch: NonZeroU16,
}

/// Locks do not outlive their owner: the server takes them from a worker that has frozen, or whose machine has gone.
pub const DATABASE_SESSION: &[(&str, &str)] = &[
    ("idle_in_transaction_session_timeout", "10s"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

impl Config {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        let telemetry = TelemetryConfig::read(&mut env);
        let database = DatabaseConfig::read(&mut env);
        let broker = BrokerConfig::read(&mut env);
        let consumer = ConsumerConfig::read(&mut env);
        let shutdown_timeout = env.or("SHUTDOWN_TIMEOUT", Duration::from_secs(30), "a duration such as 30s");
        let built = (|| {
            Some(Self {
                telemetry: telemetry?,
                database: database?,
                broker: broker?,
                consumer: consumer?,
                shutdown_timeout: shutdown_timeout?,
            })
        })();
        env.finish(built)
    }
}

impl ConsumerConfig {
    fn read(env: &mut Env) -> Option<Self> {
        const BATCH_MAX: NonZeroUsize = NonZeroUsize::new(500).expect("is not zero");
        const PREFETCH: NonZeroU16 = NonZeroU16::new(256).expect("is not zero");
        let batch_max =
            env.or("BATCH_MAX", BATCH_MAX, "the most bookings to settle in one transaction, such as 500");
        let prefetch =
            env.or("PREFETCH", PREFETCH, "the most parcels that the broker sends ahead, such as 256");
        Some(Self { batch_max: batch_max?, prefetch: prefetch? })
    }
}
