//! The api's settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::config::{ConfigError, Env, Setting};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::domain::TicketKeys;
use hamro_shared::queue::BrokerConfig;
use hamro_shared::telemetry::{LogIds, LogKey, TelemetryConfig};

use crate::admin::{AdminToken, AdminTokenSetting};
use crate::intake::PublisherConfig;
use crate::rate_limit::RateLimitConfig;
use crate::schema::SchemaConfig;
use crate::state::Rules;

pub struct Config {
    pub telemetry: TelemetryConfig,
    pub log_ids: LogIds,
    pub database: DatabaseConfig,
    pub database_connections: NonZeroU16,
    pub broker: BrokerConfig,
    pub publisher: PublisherConfig,
    pub http: HttpConfig,
    pub schema: SchemaConfig,
    pub rules: Rules,
    /// How long the requests in flight may take once the process has been asked to stop.
    pub shutdown_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub address: SocketAddr,
    pub cors_origin: CorsOrigin,
    pub rate_limit: RateLimitConfig,
    /// The most event streams that may be open at a time.
    pub streams_max: u32,
    /// How long a client may take to send the head of a request, and leave a connection idle.
    pub head_timeout: Duration,
}

/// Which pages of other origins may use the api. Nothing here is done on the strength of a cookie, so any may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    Any,
    These(Vec<HeaderValue>),
}

impl Setting for CorsOrigin {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let origin = |origin: &str| {
            let origin = origin.trim();
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
            (!rest.is_empty() && !rest.contains('/')).then(|| HeaderValue::from_str(origin).ok()).flatten()
        };
        text.split(',').map(origin).collect::<Option<Vec<_>>>().map(Self::These)
    }
}

/// The longest that `MAX_WAIT` and `BOOKING_WAIT` can be.
pub const HELD_MAX: Duration = Duration::from_mins(1);

/// A stream takes some 5 KB (`make bench-intake ARGS=streams`).
const STREAMS_MAX: u32 = 50_000;

/// Handlers that read the database share these; the intake itself needs none.
const DATABASE_CONNECTIONS: NonZeroU16 = NonZeroU16::new(10).expect("is not zero");

/// A handler's statement that takes longer than this has met something that is not right.
pub const DATABASE_SESSION: &[(&str, &str)] =
    &[("idle_in_transaction_session_timeout", "10s"), ("statement_timeout", "10s"), ("lock_timeout", "5s")];

impl Config {
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        hamro_shared::faults::arm(&mut env);
        let telemetry = TelemetryConfig::read(&mut env);
        let database = DatabaseConfig::read(&mut env);
        let broker = BrokerConfig::read(&mut env);
        let publisher = PublisherConfig::read(&mut env);
        let http = HttpConfig::read(&mut env);
        let schema = SchemaConfig::read(&mut env);
        let rules = Rules::read(&mut env);
        let log_key = LogKey::read(&mut env);
        let connections =
            env.or("DATABASE_CONNECTIONS", DATABASE_CONNECTIONS, "the most connections, such as 10");
        let shutdown_timeout = env.or("SHUTDOWN_TIMEOUT", Duration::from_secs(30), "a duration such as 30s");
        let built = (|| {
            let rules = rules?;
            let log_ids =
                log_key?.map_or_else(|| LogIds::of_ticket_keys(&rules.ticket_keys), |key| LogIds::new(&key));
            Some(Self {
                telemetry: telemetry?,
                log_ids,
                database: database?,
                database_connections: connections?,
                broker: broker?,
                publisher: publisher?,
                http: http?,
                schema: schema?,
                rules,
                shutdown_timeout: shutdown_timeout?,
            })
        })();
        env.finish(built)
    }
}

/// The settings of `hamro-api migrate`, `seed` and `erase`, which need no more than these.
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

/// The settings of `hamro-api log-id`: `LOG_KEY`, or else `TICKET_KEYS`.
pub fn log_ids(mut env: Env) -> Result<LogIds, ConfigError> {
    let log_ids = match LogKey::read(&mut env) {
        Some(Some(key)) => Some(LogIds::new(&key)),
        Some(None) => read_ticket_keys(&mut env).map(|keys| LogIds::of_ticket_keys(&keys)),
        None => None,
    };
    env.finish(log_ids)
}

fn read_ticket_keys(env: &mut Env) -> Option<TicketKeys> {
    let expected =
        "one or more keys, separated by commas, each of 64 hexadecimal digits (openssl rand -hex 32)";
    env.required("TICKET_KEYS", expected, TicketKeys::parse)
}

impl HttpConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let host = env.or(
            "HOST",
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            "the address to listen on, such as 127.0.0.1 or ::",
        );
        let port = env.or("PORT", 3000, "a TCP port such as 3000");
        let cors_origin = env.or(
            "CORS_ORIGIN",
            CorsOrigin::Any,
            "*, or origins such as https://shop.example.com, separated by commas",
        );
        let rate_limit = RateLimitConfig::read(env);
        let streams_max = env.or("STREAMS_MAX", STREAMS_MAX, "the most open event streams, such as 50000");
        // Longer than a load balancer keeps its connections: it should be the one to close them.
        let head_timeout = env.or("HEAD_TIMEOUT", Duration::from_secs(75), "a duration such as 75s");
        if head_timeout == Some(Duration::ZERO) {
            env.fault("HEAD_TIMEOUT is set to nothing: it should be a duration such as 75s");
        }
        Some(Self {
            address: SocketAddr::new(host?, port?),
            cors_origin: cors_origin?,
            rate_limit: rate_limit?,
            streams_max: streams_max?,
            head_timeout: head_timeout?,
        })
    }
}

impl SchemaConfig {
    fn read(env: &mut Env) -> Option<Self> {
        let migrate = env.or("MIGRATE_ON_START", true, "true or false");
        let seed = env.or("SEED_ON_START", true, "true or false");
        Some(Self { migrate: migrate?, seed: seed? })
    }
}

impl Rules {
    fn read(env: &mut Env) -> Option<Self> {
        const QUEUE_MAX: u32 = 1_000_000;
        const MAX_SEATS: NonZeroUsize = NonZeroUsize::new(10).expect("is not zero");
        let ticket_keys = read_ticket_keys(env);
        let admin_token = env.optional("ADMIN_TOKEN", "a secret of at least 16 ASCII characters", |text| {
            AdminTokenSetting::parse(text).ok_or(())
        });
        let max_seats = env.or("MAX_SEATS_PER_BOOKING", MAX_SEATS, "a number such as 10");
        let booking_deadline = env.or("BOOKING_DEADLINE", Duration::from_mins(15), "a duration such as 15m");
        let booking_wait = env.or("BOOKING_WAIT", Duration::from_secs(10), "a duration such as 10s");
        let queue_max = env.or("QUEUE_MAX", QUEUE_MAX, "the most bookings that may wait, such as 1000000");
        let max_wait = env.or("MAX_WAIT", Duration::from_secs(30), "a duration such as 30s");
        // What is held on purpose is held for less than the time limit of an answer.
        for (name, duration) in [("MAX_WAIT", max_wait), ("BOOKING_WAIT", booking_wait)] {
            if duration.is_some_and(|wait| wait > HELD_MAX) {
                env.fault(format!(
                    "{name} is set to more than a minute: it should be a duration such as 10s"
                ));
            }
        }
        for (name, duration) in [("BOOKING_DEADLINE", booking_deadline), ("BOOKING_WAIT", booking_wait)] {
            if duration == Some(Duration::ZERO) {
                env.fault(format!("{name} is set to nothing: it should be a duration such as 10s"));
            }
        }
        if let (Some(deadline), Some(wait)) = (booking_deadline, booking_wait)
            && wait > deadline
        {
            env.fault(format!(
                "BOOKING_WAIT ({wait:?}) should not be longer than BOOKING_DEADLINE ({deadline:?})"
            ));
        }
        Some(Self {
            ticket_keys: ticket_keys?,
            admin_token: AdminToken::new(admin_token?.map(|AdminTokenSetting(token)| token)),
            max_seats: max_seats?.get(),
            booking_deadline: booking_deadline?,
            booking_wait: booking_wait?,
            max_wait: max_wait?,
            queue_max: queue_max?.into(),
        })
    }
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
    fn three_settings_are_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.http.address, "127.0.0.1:3000".parse().unwrap());
        assert_eq!(config.rules.max_seats, 10);
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = Config::read(Env::of(&[])).err().unwrap().to_string();
        for name in ["DATABASE_URL", "AMQP_URL", "TICKET_KEYS"] {
            assert!(error.contains(&format!("{name} is not set: it should be ")), "{error}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_and_its_value_is_not_shown() {
        let wrong = [
            ("DATABASE_URL", "mysql://localhost/hamro"),
            ("AMQP_URL", "http://localhost"),
            ("TICKET_KEYS", "short"),
            ("ADMIN_TOKEN", "short"),
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
            ("PUBLISH_IN_FLIGHT_MAX", "0"),
            ("RATE_LIMIT_PER_SECOND", "0"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("STREAMS_MAX", "many"),
            ("HEAD_TIMEOUT", "0s"),
        ];
        for (name, value) in wrong {
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
