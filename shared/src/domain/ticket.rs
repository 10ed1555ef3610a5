//! The ticket that the intake hands out: an id that proves by itself that we issued it.
//!
//! The intake stores nothing, and yet the status endpoint must tell "still waiting" from "never existed". So a
//! ticket id carries a MAC over itself, and every instance that knows the key can check it.
//!
//! ```text
//!  0               48   52        64 66             96                128
//!  +----------------+----+---------+--+--------------+-----------------+
//!  | Unix time, ms  | v8 | serial  |10| serial       | MAC             |
//!  |  48 bits       |    | 12 bits |  | 30 bits      | 32 bits         |
//!  +----------------+----+---------+--+--------------+-----------------+
//! ```
//!
//! The serial tells it from other tickets of that millisecond: see `serial.rs`. It is a UUID of version 8 (RFC 9562, section 5.8). Ids sort by the time they were issued.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Timestamp;
use super::serial::Serials;

// An id from the queue or the database is trusted. [`TicketKeys::verify`] checks an id from a client.
/// The id of a ticket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct TicketId(pub Uuid);

impl TicketId {
    /// The largest id that a ticket issued at `moment` can have.
    pub fn last_of(moment: Timestamp) -> Self {
        Self(Uuid::from_u128(time_bits(moment) | ((1 << 80) - 1)))
    }

    /// When the ticket was issued, by the clock of the instance that issued it.
    pub fn issued_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        i64::try_from(millis)
            .ok()
            .and_then(Timestamp::from_unix_millis)
            .expect("48 bits of milliseconds are a date before the year 11 000")
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A ticket as it travels: its id, and the moment after which it may no longer be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub id: TicketId,
    pub deadline: Timestamp,
}

/// The keys that sign ticket ids. All instances share them; the first signs, every one verifies, so that a key
/// can be changed without voiding the tickets that are out.
#[derive(Clone)]
pub struct TicketKeys {
    signing: Hmac<Sha256>,
    verifying: Vec<Hmac<Sha256>>,
    serials: Serials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one or more keys, separated by commas, each of 64 hexadecimal digits (`openssl rand -hex 32`)"
)]
pub struct TicketKeysError;

/// Characters of a UUID with hyphens, the form in which tickets are handed out.
const HYPHENATED_LEN: usize = uuid::fmt::Hyphenated::LENGTH;

impl TicketKeys {
    pub fn parse(text: &str) -> Result<Self, TicketKeysError> {
        let verifying = text
            .split(',')
            .map(|key| {
                let bytes = hex::decode(key.trim()).map_err(|_| TicketKeysError)?;
                let key: [u8; 32] = bytes.try_into().map_err(|_| TicketKeysError)?;
                Hmac::new_from_slice(&key).map_err(|_| TicketKeysError)
            })
            .collect::<Result<Vec<Hmac<Sha256>>, _>>()?;
        let signing = verifying.first().cloned().ok_or(TicketKeysError)?;
        Ok(Self { signing, verifying, serials: Serials::default() })
    }

    /// Makes the ids that are issued from here on unlike those of all other numbered instances.
    pub fn set_instance(&self, number: u32) {
        self.serials.set_instance(number);
    }

    /// A new ticket id, issued at `now`.
    pub fn issue(&self, now: Timestamp) -> TicketId {
        let serial = u128::from(self.serials.next());
        let body = time_bits(now)
            | 0x8 << 76
            | (serial & 0xfff) << 64
            | 0b10 << 62
            | (serial >> 12 & ((1 << 30) - 1)) << 32;
        let mac = mac(&self.signing, body);
        TicketId(Uuid::from_u128(body | u128::from(mac)))
    }

    /// A key for another purpose, which says nothing of these. What the keys sign otherwise is 12 bytes long; a purpose must
    /// not be.
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        assert!(purpose.len() != 12, "it could be the body of an id");
        self.signing.clone().chain_update(purpose).finalize().into_bytes().into()
    }

    /// The ticket id that `text` is, if it is one that was signed with one of these keys.
    pub fn verify(&self, text: &str) -> Option<TicketId> {
        // A UUID has other forms as well; a ticket has one name.
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == HYPHENATED_LEN)?;
        let body = id.as_u128() & !u128::from(u32::MAX);
        let given = id.as_u128() ^ body;
        // 32 bits that an attacker can only guess at online need no comparison in constant time, but it is free:
        // the XOR looks at all of them at once.
        let signed = self.verifying.iter().any(|key| u128::from(mac(key, body)) ^ given == 0);
        signed.then_some(TicketId(id))
    }
}

/// A moment's milliseconds, where an id has them.
fn time_bits(moment: Timestamp) -> u128 {
    (u128::from(moment.unix_millis().unsigned_abs()) & ((1 << 48) - 1)) << 80
}

/// The first 32 bits of the HMAC-SHA256 of an id's upper 96 bits.
fn mac(key: &Hmac<Sha256>, body: u128) -> u32 {
    let digest = key.clone().chain_update(&body.to_be_bytes()[..12]).finalize().into_bytes();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({} keys)", self.verifying.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn keys(text: &str) -> TicketKeys {
        TicketKeys::parse(text).unwrap()
    }

    fn key(digit: &str) -> String {
        digit.repeat(64)
    }

    proptest! {
        #[test]
        fn an_issued_ticket_is_known_again_and_keeps_its_time(millis in 0_i64..(1 << 48)) {
            let keys = keys(&key("a"));
            let now = Timestamp::from_unix_millis(millis).unwrap();
            let id = keys.issue(now);
            prop_assert_eq!(keys.verify(&id.to_string()), Some(id));
            prop_assert_eq!(id.issued_at(), now);
            prop_assert_eq!(id.0.get_version_num(), 8);
            prop_assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        }

        #[test]
        fn a_ticket_with_one_bit_changed_is_none_of_ours(bit in 0_u32..128) {
            let keys = keys(&key("a"));
            let id = keys.issue(Timestamp::from_unix_millis(1_795_364_062_341).unwrap());
            let forged = Uuid::from_u128(id.0.as_u128() ^ (1 << bit));
            prop_assert_eq!(keys.verify(&forged.to_string()), None);
        }

        #[test]
        fn a_ticket_parser_takes_any_text(text in ".*") {
            prop_assert_eq!(keys(&key("a")).verify(&text), None);
        }

        #[test]
        fn ids_sort_by_their_time(earlier in 0_i64..1_000_000, later in 1_000_000_i64..2_000_000) {
            let keys = keys(&key("a"));
            let at = |millis| keys.issue(Timestamp::from_unix_millis(millis).unwrap());
            prop_assert!(at(earlier) < at(later));
            let bound = TicketId::last_of(Timestamp::from_unix_millis(earlier).unwrap());
            prop_assert!(at(earlier) <= bound && bound < at(later));
        }
    }

    #[test]
    fn a_changed_key_still_verifies_what_it_signed_while_it_is_listed() {
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let old = keys(&key("a")).issue(now);
        let both = keys(&format!("{}, {}", key("b"), key("a")));
        assert_eq!(both.verify(&old.to_string()), Some(old));
        let new = both.issue(now);
        assert_eq!(keys(&key("b")).verify(&new.to_string()), Some(new));
        assert_eq!(keys(&key("b")).verify(&old.to_string()), None);
    }

    #[test]
    fn no_two_tickets_of_a_process_are_alike_even_within_a_millisecond() {
        let keys = keys(&key("a"));
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let issued: HashSet<TicketId> = (0..200_000).map(|_| keys.issue(now)).collect();
        assert_eq!(issued.len(), 200_000);
    }

    #[test]
    fn a_ticket_has_one_form() {
        let keys = keys(&key("a"));
        let id = keys.issue(Timestamp::from_unix_millis(1_795_364_062_341).unwrap());
        assert_eq!(keys.verify(&id.to_string().to_uppercase()), Some(id));
        for other in [id.0.simple().to_string(), id.0.urn().to_string(), id.0.braced().to_string()] {
            assert_eq!(keys.verify(&other), None, "{other}");
        }
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        for bad in ["", "abcd", &key("z"), &format!("{},", key("a"))] {
            assert!(TicketKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
