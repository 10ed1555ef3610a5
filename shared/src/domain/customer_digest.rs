//! Digests that tell whose sale it is, so that the seats of one customer can be counted.
//!
//! They are pseudonymous: whoever guesses an address can compute its digest. Erasing a customer erases them.
//! `customer_digest(text)` and `address_without_tag(text)` in the database do the same for ASCII addresses.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Email;

/// The first 128 bits of the SHA-256 of a normalised address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerDigest(pub [u8; 16]);

/// What a sale stores of its customer, so that a limit may count the addresses `alice@…` and `alice+friends@…` as one
/// customer or as two, and may change its mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomerDigests {
    /// Of the address without its tag.
    pub mailbox: CustomerDigest,
    /// Of the whole address, if it has a tag.
    pub tagged: Option<CustomerDigest>,
}

impl CustomerDigests {
    pub fn of(email: &Email) -> Self {
        let address = email.normalised();
        match without_tag(&address) {
            Some(mailbox) => Self { mailbox: digest(&mailbox), tagged: Some(digest(&address)) },
            None => Self { mailbox: digest(&address), tagged: None },
        }
    }

    /// The digest of the customer, if tags are ignored or if they are not.
    pub fn customer(self, ignore_tags: bool) -> CustomerDigest {
        self.tagged.filter(|_| !ignore_tags).unwrap_or(self.mailbox)
    }
}

fn digest(address: &str) -> CustomerDigest {
    let mut hasher = Sha256::new();
    // Such a text is no input of any other digest.
    hasher.update("customer:");
    hasher.update(address);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize()[..16]);
    CustomerDigest(digest)
}

/// The address without the part of its local part that begins with `+`, if there is one. A quoted local part has none.
fn without_tag(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    let (mailbox, _) = local.split_once('+')?;
    let is_mailbox = !mailbox.is_empty() && !mailbox.starts_with('"') && !mailbox.contains('@');
    is_mailbox.then(|| format!("{mailbox}@{domain}"))
}

impl fmt::Debug for CustomerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> CustomerDigests {
        CustomerDigests::of(&Email::from_stored(Some(address.to_owned())))
    }

    #[test]
    fn a_tag_makes_another_customer_unless_tags_are_ignored() {
        let (plain, tagged) = (of("alice@example.com"), of("Alice+Friends+1@Example.com"));
        assert_eq!(plain.customer(true), tagged.customer(true));
        assert_ne!(plain.customer(false), tagged.customer(false));
        assert_ne!(tagged.customer(false), of("alice+family@example.com").customer(false));
        assert_eq!(tagged.customer(false), of("alice+friends+1@example.com").customer(false));
    }

    #[test]
    fn only_what_follows_a_mailbox_is_a_tag() {
        for address in ["+alice@example.com", "\"a+b\"@example.com", "alice@exam+ple.com", "no+address", ""] {
            assert_eq!(of(address).tagged, None, "{address}");
        }
        assert_eq!(of("प्रकाश+x@example.com").mailbox, of("प्रकाश@example.com").mailbox);
    }

    #[test]
    fn all_spellings_of_an_address_have_one_digest() {
        assert_eq!(of("A@EXÄMPLE.DE"), of("a@xn--exmple-cua.de"));
        assert_ne!(of("\u{212a}ate@example.com"), of("kate@example.com"));
    }
}
