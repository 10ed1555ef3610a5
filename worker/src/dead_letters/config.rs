//! The settings of the commands.

use std::time::Duration;

use hamro_shared::config::shared_settings::{read_booking_deadline, read_ticket_keys};
use hamro_shared::config::{ConfigError, Env};
use hamro_shared::database::{Database, DatabaseConfig};
use hamro_shared::dead_letters::Reissuer;
use hamro_shared::domain::{Clock, TicketKeys};
use hamro_shared::queue::{Broker, BrokerConfig};

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
        let config = Self::read_sections(&mut env);
        env.finish(config)
    }

    pub fn read_sections(env: &mut Env) -> Option<Self> {
        let database = DatabaseConfig::read(env);
        let broker = BrokerConfig::read(env);
        let ticket_keys = read_ticket_keys(env);
        let booking_deadline = read_booking_deadline(env);
        Some(Self {
            database: database?,
            broker: broker?,
            ticket_keys: ticket_keys?,
            booking_deadline: booking_deadline?,
        })
    }

    /// What issues the ticket, and where it is published.
    pub fn reissuer(self, database: Database, clock: Clock) -> (Reissuer, Broker) {
        let broker = Broker::new(&self.broker, "hamro-worker-dead-letters");
        let Self { ticket_keys, booking_deadline, .. } = self;
        (Reissuer { database, ticket_keys, booking_deadline, clock }, broker)
    }
}
