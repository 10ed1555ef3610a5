//! The customer of a booking.
//!
//! Input is validated, stored data is trusted. A row may have been changed on the customer's request, or be older than
//! the current rules, and a name that breaks them must not hide the booking.

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

    /// A name from the database or from a worker's announcement. A missing or empty one becomes the placeholder.
    pub fn from_stored(text: Option<String>) -> Self {
        present(text).map_or_else(Self::erased, Self)
    }

    /// The placeholder for an erased name. It is valid input, so that a version that validates stored names can read it
    /// too.
    pub fn erased() -> Self {
        Self("Erased customer".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text, unless it is blank.
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
    /// The longest address that can receive mail (RFC 5321, with erratum 1690 to RFC 3696).
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

    /// An address from the database or from a worker's announcement. A missing or empty one becomes the placeholder.
    pub fn from_stored(text: Option<String>) -> Self {
        present(text).map_or_else(Self::erased, Self)
    }

    /// The placeholder for an erased address. It is valid input, as the name's placeholder is, and cannot receive mail
    /// (RFC 2606, section 2).
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

// Names and addresses must not reach a log, so `Debug` does not print them.
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
    fn a_name_is_trimmed_and_has_no_control_characters() {
        assert_eq!(CustomerName::parse("  Alice ").unwrap().as_str(), "Alice");
        assert_eq!(CustomerName::parse(" \t"), Err(NameError::Empty));
        assert_eq!(CustomerName::parse(&"न".repeat(101)), Err(NameError::TooLong));
        assert!(CustomerName::parse(&"न".repeat(100)).is_ok());
        assert_eq!(CustomerName::parse("A\0lice"), Err(NameError::ControlCharacter));
    }

    #[test]
    fn a_malformed_or_too_long_address_is_rejected() {
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
    fn a_stored_customer_is_not_validated_and_a_missing_one_becomes_the_placeholder() {
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
    fn a_placeholder_is_valid_input() {
        let (name, email) = (CustomerName::erased(), Email::erased());
        assert_eq!(CustomerName::parse(name.as_str()), Ok(name));
        assert_eq!(Email::parse(email.as_str()), Ok(email));
    }

    #[test]
    fn debug_output_contains_neither_name_nor_address() {
        let printed = format!("{:?} {:?}", CustomerName::parse("Alice"), Email::parse("alice@example.com"));
        assert!(!printed.to_lowercase().contains("alice"), "{printed}");
    }
}
