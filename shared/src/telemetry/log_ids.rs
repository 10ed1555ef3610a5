//! Log ids, which replace ticket ids in the log. The id of a ticket is all that a client needs to read its status, so
//! the log must not contain it. Anyone who knows a ticket id can compute its log id and find its lines; the reverse is
//! impossible.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::config::{Env, Setting};
use crate::domain::{TicketId, TicketKeys};

/// The key of the log ids (`LOG_KEY`). Programs with the same key write the same log ids.
#[derive(Clone)]
pub struct LogKey([u8; 32]);

impl LogKey {
    /// The outer `None` means that the setting is invalid.
    pub fn read(env: &mut Env) -> Option<Option<Self>> {
        env.variable(
            "LOG_KEY",
            "Key of the log ids. By default, the api derives it from TICKET_KEYS and a worker chooses a random one.",
            "64 hexadecimal digits (openssl rand -hex 32)",
        )
        .secret()
        .optional()
    }
}

impl Setting for LogKey {
    fn parse(text: &str) -> Option<Self> {
        Some(Self(hex::decode(text).ok()?.try_into().ok()?))
    }
}

/// Computes log ids.
#[derive(Clone)]
pub struct LogIds(Hmac<Sha256>);

/// The first 64 bits of the HMAC-SHA256 of a ticket's id; 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId([u8; 8]);

impl LogIds {
    pub fn new(key: &LogKey) -> Self {
        Self(Hmac::new_from_slice(&key.0).expect("HMAC takes a key of any length"))
    }

    /// Derives the key from the first of `TICKET_KEYS`. All instances that share it write the same log ids.
    pub fn of_ticket_keys(keys: &TicketKeys) -> Self {
        Self::new(&LogKey(keys.derive_key("hamro-concert log ids")))
    }

    /// Uses a random key, for a program without a configured one. Its log ids are valid only within this process.
    pub fn random() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Self::new(&LogKey(key))
    }

    pub fn of(&self, ticket: TicketId) -> LogId {
        let digest = self.0.clone().chain_update(ticket.0.as_bytes()).finalize().into_bytes();
        let mut id = LogId([0; 8]);
        id.0.copy_from_slice(&digest[..8]);
        id
    }

    /// Replaces every ticket id in the line by its log id.
    pub(super) fn redact<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let Some((first, ticket)) = find_ticket(line) else { return Cow::Borrowed(line) };
        let mut redacted = line[..first].to_vec();
        redacted.extend_from_slice(self.of(ticket).to_string().as_bytes());
        let mut rest = &line[first + Hyphenated::LENGTH..];
        while let Some((at, ticket)) = find_ticket(rest) {
            redacted.extend_from_slice(&rest[..at]);
            redacted.extend_from_slice(self.of(ticket).to_string().as_bytes());
            rest = &rest[at + Hyphenated::LENGTH..];
        }
        redacted.extend_from_slice(rest);
        Cow::Owned(redacted)
    }
}

/// Finds the first ticket id: a hyphenated UUID of version 8. No other ids here have this version.
fn find_ticket(line: &[u8]) -> Option<(usize, TicketId)> {
    const VERSION_AT: usize = 14;
    let candidates = line.windows(Hyphenated::LENGTH).enumerate();
    candidates.filter(|(_, text)| text[VERSION_AT] == b'8' && text[VERSION_AT - 1] == b'-').find_map(
        |(at, text)| {
            let id = Uuid::try_parse_ascii(text).ok()?;
            Some((at, TicketId(id)))
        },
    )
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LogIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogIds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn keys(digit: &str) -> TicketKeys {
        TicketKeys::parse(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn ticket_ids_in_a_line_are_replaced_by_log_ids() {
        let (keys, log_ids) = (keys("a"), LogIds::random());
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let (one, other) = (keys.issue(now), keys.issue(now));
        let another = Uuid::from_u128(0x1234_5678_9abc_4ef0_8123_4567_89ab_cdef);
        let line = format!("{one}: {another}, x{other}-{}: नेपाल", one.to_string().to_uppercase());
        let (a, b) = (log_ids.of(one), log_ids.of(other));
        assert_eq!(
            String::from_utf8(log_ids.redact(line.as_bytes()).into_owned()).unwrap(),
            format!("{a}: {another}, x{b}-{a}: नेपाल")
        );
        assert_eq!(a.to_string().len(), 16);
        assert!(matches!(log_ids.redact(b"nothing-8 to see"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_same_key_yields_the_same_log_ids() {
        let ticket = TicketId(Uuid::from_u128(7));
        let log_id = |keys: TicketKeys| LogIds::of_ticket_keys(&keys).of(ticket);
        assert_eq!(log_id(keys("a")), log_id(keys("a")));
        assert_ne!(log_id(keys("a")), log_id(keys("b")));
        assert_ne!(LogIds::random().of(ticket), LogIds::random().of(ticket));
    }

    #[test]
    fn an_invalid_log_key_is_rejected() {
        assert!(LogKey::parse(&"a".repeat(64)).is_some());
        for bad in ["", "abcd", &"z".repeat(64), &"a".repeat(66)] {
            assert!(LogKey::parse(bad).is_none(), "{bad}");
        }
    }
}
