//! The settings of the commands.

use std::time::Duration;

use hamro_shared::config::{ConfigError, Env};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::domain::{Clock, TicketKeys};
use hamro_shared::queue::{Broker, BrokerConfig};
use sqlx::PgPool;

use super::reissue::Reissuer;

/// The settings of the commands that need only the database.
pub struct DatabaseOnlyConfig {
    pub database: DatabaseConfig,
}

impl DatabaseOnlyConfig {
    pub fn read() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let database = DatabaseConfig::read(&mut env);
        env.finish((|| Some(Self { database: database? }))())
    }
}

/// The settings of `reissue`, which issues a ticket as the api does.
pub struct ReissueConfig {
    pub database: DatabaseConfig,
    broker: BrokerConfig,
    ticket_keys: TicketKeys,
    booking_deadline: Duration,
}

impl ReissueConfig {
    pub fn read() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let database = DatabaseConfig::read(&mut env);
        let broker = BrokerConfig::read(&mut env);
        let keys = "the api's keys, each of 64 hexadecimal digits, the signing key first";
        let ticket_keys = env.required("TICKET_KEYS", keys, TicketKeys::parse);
        let booking_deadline =
            env.or_default("BOOKING_DEADLINE", Duration::from_mins(15), "a duration such as 15m");
        if booking_deadline == Some(Duration::ZERO) {
            env.record_error("BOOKING_DEADLINE is zero: it should be a duration such as 15m");
        }
        let built = (|| {
            Some(Self {
                database: database?,
                broker: broker?,
                ticket_keys: ticket_keys?,
                booking_deadline: booking_deadline?,
            })
        })();
        env.finish(built)
    }

    pub fn reissuer(self, pool: PgPool, clock: Clock) -> Reissuer {
        Reissuer {
            pool,
            broker: Broker::new(&self.broker, "hamro-worker-dead-letters"),
            ticket_keys: self.ticket_keys,
            booking_deadline: self.booking_deadline,
            clock,
        }
    }
}
