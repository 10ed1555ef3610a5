//! Who books.
//!
//! Input is validated; what is stored is trusted. A row may have been changed on the person's request, or be older than
//! today's rules, and a name that breaks them is no reason to withhold the seats that were bought under it.

use std::fmt;

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A customer's name: 1 to 100 characters without control characters, trimmed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "Alice")]
pub struct CustomerName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {} characters", CustomerName::MAX_CHARS)]
    TooLong,
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl CustomerName {
    pub const MAX_CHARS: usize = 100;

    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            Err(NameError::Empty)
        } else if text.chars().count() > Self::MAX_CHARS {
            Err(NameError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(NameError::ControlCharacter)
        } else {
            Ok(Self(trimmed.to_owned()))
        }
    }

    /// A name that was stored, or announced by a worker. A missing or empty one becomes the placeholder.
    pub fn from_stored(text: Option<String>) -> Self {
        present(text).map_or_else(Self::erased, Self)
    }

    /// What stands in the place of a name that was erased. It passes the rules for input, so that a version that applies
    /// them to stored names reads it too.
    pub fn erased() -> Self {
        Self("Erased customer".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text, if there is anything in it.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// An e-mail address, as the customer wrote it (trimmed).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "alice@example.com")]
pub struct Email(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    #[error("must be an e-mail address such as alice@example.com")]
    Malformed,
    #[error("must have at most {} characters", Email::MAX_CHARS)]
    TooLong,
}

impl Email {
    /// The longest address that mail can be sent to (RFC 5321, with erratum 1690 to RFC 3696).
    pub const MAX_CHARS: usize = 254;

    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.chars().count() > Self::MAX_CHARS {
            return Err(EmailError::TooLong);
        }
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(text, options)
            .map(|_| Self(text.to_owned()))
            .map_err(|_| EmailError::Malformed)
    }

    /// An address that was stored, or announced by a worker. A missing or empty one becomes the placeholder.
    pub fn from_stored(text: Option<String>) -> Self {
        present(text).map_or_else(Self::erased, Self)
    }

    /// What stands in the place of an address that was erased. It passes the rules for input, as the name's placeholder
    /// does, and no mail can reach it (RFC 2606, section 2).
    pub fn erased() -> Self {
        Self("erased@customer.invalid".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which two spellings of one customer's address are equal.
    pub fn normalised(&self) -> String {
        self.0.to_lowercase()
    }
}

// Neither a name nor an address may reach a log: printing one says only that it is there.
impl fmt::Debug for CustomerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerName(…)")
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

impl TryFrom<String> for CustomerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<CustomerName> for String {
    fn from(name: CustomerName) -> Self {
        name.0
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;

    fn try_from(text: String) -> Result<Self, EmailError> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_must_be_printable() {
        assert_eq!(CustomerName::parse("  Alice ").unwrap().as_str(), "Alice");
        assert_eq!(CustomerName::parse(" \t"), Err(NameError::Empty));
        assert_eq!(CustomerName::parse(&"न".repeat(101)), Err(NameError::TooLong));
        assert!(CustomerName::parse(&"न".repeat(100)).is_ok());
        assert_eq!(CustomerName::parse("A\0lice"), Err(NameError::ControlCharacter));
    }

    #[test]
    fn an_address_must_look_like_one() {
        for good in ["alice@example.com", "a.b+c@sub.example.np", " alice@example.com "] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "alice", "alice@", "@example.com", "alice@example", "a b@example.com", "Al <a@b.com>"]
        {
            assert_eq!(Email::parse(bad), Err(EmailError::Malformed), "{bad}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        assert_eq!(Email::parse(&long), Err(EmailError::TooLong));
    }

    #[test]
    fn a_stored_customer_is_trusted_and_a_missing_one_becomes_the_placeholder() {
        for odd in ["A\0lice", &"न".repeat(500), " Alice", "no address"] {
            assert_eq!(CustomerName::from_stored(Some(odd.to_owned())).as_str(), odd);
            assert_eq!(Email::from_stored(Some(odd.to_owned())).as_str(), odd);
        }
        for nothing in [None, Some(String::new()), Some(" ".to_owned())] {
            assert_eq!(CustomerName::from_stored(nothing.clone()), CustomerName::erased());
            assert_eq!(Email::from_stored(nothing), Email::erased());
        }
    }

    #[test]
    fn a_placeholder_passes_the_rules_for_input() {
        let (name, email) = (CustomerName::erased(), Email::erased());
        assert_eq!(CustomerName::parse(name.as_str()), Ok(name));
        assert_eq!(Email::parse(email.as_str()), Ok(email));
    }

    #[test]
    fn printing_a_customer_shows_nothing_of_them() {
        let printed = format!("{:?} {:?}", CustomerName::parse("Alice"), Email::parse("alice@example.com"));
        assert!(!printed.to_lowercase().contains("alice"), "{printed}");
    }
}
