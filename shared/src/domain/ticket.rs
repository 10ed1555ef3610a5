//! The ticket that the intake issues. Its id proves that an instance of the api issued it.
//!
//! The intake stores nothing, and yet the status endpoint must distinguish a queued ticket from one that never existed.
//! So a ticket id contains a MAC of itself, which every instance that knows the key can verify.
//!
//! ```text
//!  0               48   52        64 66             96                128
//!  +----------------+----+---------+--+--------------+-----------------+
//!  | Unix time, ms  | v8 | serial  |10| serial       | MAC             |
//!  |  48 bits       |    | 12 bits |  | 30 bits      | 32 bits         |
//!  +----------------+----+---------+--+--------------+-----------------+
//! ```
//!
//! The serial distinguishes tickets of the same millisecond: see `serial.rs`. The id is a UUID of version 8 (RFC 9562,
//! section 5.8). Ids sort by their time of issue.

use std::fmt;
use std::time::Duration;

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

    /// When the ticket was issued, by the clock of the issuing instance.
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

/// A ticket in the queue: its id and its deadline, after which it may no longer be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub id: TicketId,
    pub deadline: Timestamp,
}

impl Ticket {
    /// Whether the ticket may no longer be sold, by a clock that shows `now`.
    pub fn is_past_deadline(self, now: Timestamp) -> bool {
        now > self.deadline
    }
    /// The first moment at which the ticket may no longer be sold. It may still be sold at its deadline, and timestamps
    /// have whole milliseconds.
    pub fn first_moment_past_deadline(self) -> Timestamp {
        self.deadline + Duration::from_millis(1)
    }
}

/// The keys that sign ticket ids, shared by all instances. The first key signs and all keys verify, so that the signing
/// key can be changed without invalidating issued tickets.
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

/// The length of a UUID with hyphens, the form in which tickets are issued.
const HYPHENATED_LEN: usize = uuid::fmt::Hyphenated::LENGTH;

/// What a key signs for its fingerprint. Not 12 bytes long, as the signed part of a ticket id is.
const FINGERPRINT: &str = "hamro-concert fingerprint of a ticket key";

/// Enough to tell apart the few keys of an installation.
const FINGERPRINT_BYTES: usize = 6;

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

    /// From now on, issued ids differ from those of all other numbered instances.
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

    /// Derives a key for another purpose, which reveals nothing about these keys. A purpose must not be 12 bytes long,
    /// because the signed part of a ticket id is.
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        assert!(purpose.len() != 12, "it could be the body of an id");
        self.signing.clone().chain_update(purpose).finalize().into_bytes().into()
    }

    /// Names the keys for operators, in their order: the first signs. Equal keys have equal fingerprints, and a fingerprint
    /// reveals nothing about its key.
    pub fn fingerprints(&self) -> Vec<String> {
        let fingerprint = |key: &Hmac<Sha256>| {
            hex::encode(&key.clone().chain_update(FINGERPRINT).finalize().into_bytes()[..FINGERPRINT_BYTES])
        };
        self.verifying.iter().map(fingerprint).collect()
    }

    /// Parses a ticket id; `None` unless it was signed with one of these keys.
    pub fn verify(&self, text: &str) -> Option<TicketId> {
        // A UUID has other forms as well; a ticket id has only this one.
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == HYPHENATED_LEN)?;
        let body = id.as_u128() & !u128::from(u32::MAX);
        let given = id.as_u128() ^ body;
        // The XOR compares all 32 bits at once. An attacker could only guess online, so constant time is not essential.
        let signed = self.verifying.iter().any(|key| u128::from(mac(key, body)) ^ given == 0);
        signed.then_some(TicketId(id))
    }
}

/// The milliseconds of `moment`, at their position in an id.
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
        fn an_issued_ticket_is_verified_and_keeps_its_time(millis in 0_i64..(1 << 48)) {
            let keys = keys(&key("a"));
            let now = Timestamp::from_unix_millis(millis).unwrap();
            let id = keys.issue(now);
            prop_assert_eq!(keys.verify(&id.to_string()), Some(id));
            prop_assert_eq!(id.issued_at(), now);
            prop_assert_eq!(id.0.get_version_num(), 8);
            prop_assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        }

        #[test]
        fn a_ticket_with_one_bit_changed_is_not_verified(bit in 0_u32..128) {
            let keys = keys(&key("a"));
            let id = keys.issue(Timestamp::from_unix_millis(1_795_364_062_341).unwrap());
            let forged = Uuid::from_u128(id.0.as_u128() ^ (1 << bit));
            prop_assert_eq!(keys.verify(&forged.to_string()), None);
        }

        #[test]
        fn any_other_text_is_not_verified(text in ".*") {
            prop_assert_eq!(keys(&key("a")).verify(&text), None);
        }

        #[test]
        fn ids_sort_by_their_time_of_issue(earlier in 0_i64..1_000_000, later in 1_000_000_i64..2_000_000) {
            let keys = keys(&key("a"));
            let at = |millis| keys.issue(Timestamp::from_unix_millis(millis).unwrap());
            prop_assert!(at(earlier) < at(later));
            let bound = TicketId::last_of(Timestamp::from_unix_millis(earlier).unwrap());
            prop_assert!(at(earlier) <= bound && bound < at(later));
        }
    }

    #[test]
    fn a_replaced_key_still_verifies_its_tickets_while_it_is_listed() {
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let old = keys(&key("a")).issue(now);
        let both = keys(&format!("{}, {}", key("b"), key("a")));
        assert_eq!(both.verify(&old.to_string()), Some(old));
        let new = both.issue(now);
        assert_eq!(keys(&key("b")).verify(&new.to_string()), Some(new));
        assert_eq!(keys(&key("b")).verify(&old.to_string()), None);
    }

    #[test]
    fn no_two_tickets_of_a_process_are_equal_even_within_a_millisecond() {
        let keys = keys(&key("a"));
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let issued: HashSet<TicketId> = (0..200_000).map(|_| keys.issue(now)).collect();
        assert_eq!(issued.len(), 200_000);
    }

    #[test]
    fn only_the_hyphenated_form_of_a_ticket_is_verified() {
        let keys = keys(&key("a"));
        let id = keys.issue(Timestamp::from_unix_millis(1_795_364_062_341).unwrap());
        assert_eq!(keys.verify(&id.to_string().to_uppercase()), Some(id));
        for other in [id.0.simple().to_string(), id.0.urn().to_string(), id.0.braced().to_string()] {
            assert_eq!(keys.verify(&other), None, "{other}");
        }
    }

    #[test]
    fn fingerprints_follow_the_order_of_the_keys_and_contain_no_part_of_them() {
        let [a, b] = ["a", "b"].map(|digit| keys(&key(digit)).fingerprints().remove(0));
        assert_ne!(a, b);
        assert_eq!(a.len(), 2 * FINGERPRINT_BYTES);
        assert!(!a.contains("aaaa"), "{a}");
        assert_eq!(keys(&format!("{},{}", key("b"), key("a"))).fingerprints(), [b, a]);
    }

    #[test]
    fn a_key_of_the_wrong_length_is_rejected() {
        for bad in ["", "abcd", &key("z"), &format!("{},", key("a"))] {
            assert!(TicketKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
