//! The worker's settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use hamro_shared::config::{ConfigError, Env};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::queue::BrokerConfig;
use hamro_shared::telemetry::{LogIds, LogKey, TelemetryConfig};

pub struct Config {
    pub telemetry: TelemetryConfig,
    pub log_ids: LogIds,
    pub database: DatabaseConfig,
    pub broker: BrokerConfig,
    pub consumer: ConsumerConfig,
    pub reaper: ReaperConfig,
    pub http: HttpConfig,
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

#[derive(Clone, Copy, Debug)]
pub struct ReaperConfig {
    /// How long a worker must have lived before it touches what other workers died of.
    pub delay: Duration,
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
        hamro_shared::faults::arm(&mut env);
        let telemetry = TelemetryConfig::read(&mut env);
        let log_key = LogKey::read(&mut env);
        let database = DatabaseConfig::read(&mut env);
        let broker = BrokerConfig::read(&mut env);
        let consumer = ConsumerConfig::read(&mut env);
        let reaper = ReaperConfig::read(&mut env);
        let http = HttpConfig::read(&mut env);
        let shutdown_timeout = env.or("SHUTDOWN_TIMEOUT", Duration::from_secs(30), "a duration such as 30s");
        let built = (|| {
            Some(Self {
                telemetry: telemetry?,
                // Without a key that the api has too, these are of this process alone.
                log_ids: log_key?.map_or_else(LogIds::random, |key| LogIds::new(&key)),
                database: database?,
                broker: broker?,
                consumer: consumer?,
                reaper: reaper?,
                http: http?,
                shutdown_timeout: shutdown_timeout?,
            })
        })();
        env.finish(built)
    }
}

/// Where to answer health checks, if at all.
#[derive(Clone, Copy, Debug)]
pub struct HttpConfig {
    pub address: Option<SocketAddr>,
}

impl HttpConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let host = env.or("HOST", localhost, "the address to listen on, such as 127.0.0.1 or ::");
        let port = env.optional("WORKER_HTTP_PORT", "a TCP port such as 3001", str::parse::<u16>);
        let (host, port) = (host?, port?);
        Some(Self { address: port.map(|port| SocketAddr::new(host, port)) })
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

impl ReaperConfig {
    fn read(env: &mut Env) -> Option<Self> {
        let delay = env.or("REAPER_DELAY", Duration::from_secs(10), "a duration such as 10s");
        Some(Self { delay: delay? })
    }
}
