//! Idempotency keys, which distinguish a retry from a second booking.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Email;

/// The value of an `Idempotency-Key` header: 1 to 255 printable ASCII characters
/// (IETF draft-ietf-httpapi-idempotency-key-header-07).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} printable ASCII characters", IdempotencyKey::MAX_CHARS)]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    pub const MAX_CHARS: usize = 255;

    /// Parses the header's value: a quoted string, as the draft specifies, or the bare key that most clients send.
    pub fn from_header(value: &str) -> Result<Self, IdempotencyKeyError> {
        let value = value.trim();
        Self::new(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
    }

    /// A key without quotes or surrounding white space to remove.
    pub fn new(key: &str) -> Result<Self, IdempotencyKeyError> {
        let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"');
        if key.is_empty() || key.len() > Self::MAX_CHARS || !printable {
            return Err(IdempotencyKeyError);
        }
        Ok(Self(key.to_owned()))
    }

    /// The digest of the key and its customer: two customers may choose the same key.
    pub fn digest(&self, customer: &Email) -> IdempotencyDigest {
        self.digest_with(&customer.normalised())
    }

    /// The digest of the key and a customer with this normalised address.
    pub fn digest_with(&self, customer: &str) -> IdempotencyDigest {
        let mut hasher = Sha256::new();
        hasher.update((customer.len() as u64).to_be_bytes());
        hasher.update(customer);
        hasher.update(&self.0);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize()[..16]);
        IdempotencyDigest(digest)
    }

    /// The digests under which any version until this one may have stored a booking of this customer under this key.
    pub fn possible_digests(&self, customer: &Email) -> Vec<KeyDigest> {
        let mut digests = vec![self.digest(customer).short()];
        digests.extend(customer.earlier_forms().iter().map(|form| self.digest_with(form).short()));
        digests
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = IdempotencyKeyError;

    fn try_from(value: String) -> Result<Self, IdempotencyKeyError> {
        Self::new(&value)
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// The first 128 bits of the SHA-256 of a customer's normalised address and their key: one value to index, which
/// reveals neither.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyDigest(pub [u8; 16]);

/// The first eight bytes of an [`IdempotencyDigest`]. Different ones are of different keys or customers; equal ones are most
/// likely of the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyDigest(pub u64);

/// What is known of the idempotency key of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaleKey {
    /// The booking had no key.
    None,
    /// Its digest has the version of this program or an earlier one.
    Digest(KeyDigest),
    /// The digest is not stored, or of a later version. It may be that of any key.
    Unknown,
}

impl IdempotencyDigest {
    /// The version of the rules by which digests are computed. Raise it with them. A version may also read the digests of
    /// earlier ones: see [`IdempotencyKey::possible_digests`]. A stored digest of a later version must not have 16 bytes, so
    /// that this version can tell.
    pub const VERSION: u8 = 1;

    pub fn short(self) -> KeyDigest {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        KeyDigest(u64::from_be_bytes(first))
    }
}

impl SaleKey {
    /// The key of a booking with this stored digest; `None` if it had no key.
    pub fn from_stored(digest: Option<&[u8]>) -> Self {
        match digest.map(<[u8; 16]>::try_from) {
            None => Self::None,
            Some(Ok(digest)) => Self::Digest(IdempotencyDigest(digest).short()),
            Some(Err(_)) => Self::Unknown,
        }
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({:016x})", self.0)
    }
}

impl fmt::Debug for IdempotencyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyDigest({})", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        assert_eq!(IdempotencyKey::from_header("\"8e03978e\""), IdempotencyKey::from_header(" 8e03978e "));
        let long = "k".repeat(256);
        for bad in ["", "\"\"", "a\"b", "clé", "a\u{7f}", long.as_str()] {
            assert_eq!(IdempotencyKey::from_header(bad), Err(IdempotencyKeyError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_key_survives_serialisation(value in "[ -~]{0,300}") {
            if let Ok(key) = IdempotencyKey::from_header(&value) {
                let json = serde_json::to_string(&key).unwrap();
                prop_assert_eq!(serde_json::from_str::<IdempotencyKey>(&json).unwrap(), key);
            }
        }
    }

    #[test]
    fn the_digest_depends_on_the_customer_and_not_on_the_case_of_the_address() {
        let key = IdempotencyKey::new("k").unwrap();
        let email = |text| Email::parse(text).unwrap();
        assert_eq!(key.digest(&email("alice@example.com")), key.digest(&email("ALICE@example.com")));
        assert_ne!(key.digest(&email("alice@example.com")), key.digest(&email("bob@example.com")));
    }

    #[test]
    fn the_short_digest_is_the_beginning_of_the_digest() {
        let mut digest = [0xff; 16];
        digest[..8].copy_from_slice(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(IdempotencyDigest(digest).short(), KeyDigest(0x0123_4567_89ab_cdef));
        assert_eq!(SaleKey::from_stored(Some(&digest)), SaleKey::Digest(KeyDigest(0x0123_4567_89ab_cdef)));
    }

    #[test]
    fn a_stored_digest_of_another_length_may_be_of_any_key() {
        assert_eq!(SaleKey::from_stored(Some(&[7; 17])), SaleKey::Unknown);
        assert_eq!(SaleKey::from_stored(None), SaleKey::None);
    }

    #[test]
    fn the_possible_digests_contain_those_of_earlier_forms_of_the_address() {
        let key = IdempotencyKey::new("k").unwrap();
        let email = Email::from_stored(Some("\u{212a}ate@example.com".to_owned()));
        let possible = key.possible_digests(&email);
        assert_eq!(possible[0], key.digest(&email).short());
        assert!(possible.len() > 1);
        for form in email.earlier_forms() {
            assert!(possible.contains(&key.digest_with(&form).short()), "{form}");
        }
    }
}
