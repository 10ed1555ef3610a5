//! Settings that several programs read, with one default and one description for all of them.

use std::net::IpAddr;
use std::time::Duration;

use super::{Env, Setting, VariableReader};
use crate::domain::TicketKeys;

/// Reads `TICKET_KEYS`.
pub fn read_ticket_keys(env: &mut Env) -> Option<TicketKeys> {
    ticket_keys(env).required()
}

/// Reads `TICKET_KEYS` for a command that does less without them. The outer `None` means that the setting is invalid.
pub fn read_optional_ticket_keys(env: &mut Env) -> Option<Option<TicketKeys>> {
    ticket_keys(env).optional()
}

fn ticket_keys(env: &mut Env) -> VariableReader<'_> {
    env.variable(
        "TICKET_KEYS",
        "Keys of the tickets: the first signs new tickets, all verify. The same on all api instances.",
        "comma-separated keys of 64 hexadecimal digits each (openssl rand -hex 32)",
    )
    .secret()
}

/// Reads `BOOKING_DEADLINE`.
pub fn read_booking_deadline(env: &mut Env) -> Option<Duration> {
    let deadline = env
        .variable(
            "BOOKING_DEADLINE",
            "How long after its issue a ticket may be sold. The same on all api instances.",
            "a duration such as 15m",
        )
        .or_default("15m");
    if deadline == Some(Duration::ZERO) {
        env.record_error("BOOKING_DEADLINE is zero: it should be a duration such as 15m");
    }
    deadline
}

/// Reads `HOST`.
pub fn read_host(env: &mut Env) -> Option<IpAddr> {
    env.variable("HOST", "Address to listen on.", "an IP address such as 127.0.0.1 or ::")
        .or_default("127.0.0.1")
}

/// Reads `SHUTDOWN_TIMEOUT`.
pub fn read_shutdown_timeout(env: &mut Env) -> Option<Duration> {
    env.variable(
        "SHUTDOWN_TIMEOUT",
        "Time from SIGTERM or SIGINT until the process ends at the latest. The platform must not kill it sooner.",
        "a duration such as 30s",
    )
    .or_default("30s")
}

impl Setting for TicketKeys {
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}
