//! The customer of a booking.
//!
//! Input is validated, stored data is trusted. A row may have been changed on the customer's request, or be older than
//! the current rules, and a name that breaks them must not hide the booking.
//!
//! A booking in the queue is trusted nearly as much: an api of another version has accepted it by its own rules, and
//! its customer has a ticket. Deserialization refuses only what no version accepts.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::email_syntax;
use super::visible_text::{TextError, check_line};

// `visible_text` has the rule.
/// A customer's name: 1 to 100 characters in one line, some of them visible, trimmed.
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
    #[error(transparent)]
    Characters(#[from] TextError),
}

impl CustomerName {
    pub const MAX_CHARS: usize = 100;

    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NameError::Empty);
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(NameError::TooLong);
        }
        check_line(text)?;
        Ok(Self(trimmed.to_owned()))
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

/// Whether an api of some version may have accepted the text.
fn is_acceptable(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

/// An e-mail address, as the customer wrote it (trimmed). It may be in any script (RFC 6531).
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
            Err(EmailError::TooLong)
        } else if email_syntax::is_valid(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(EmailError::Malformed)
        }
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

    /// The form in which all spellings of one customer's address are equal: in lower case, with the domain as DNS has it
    /// (`xn--…`). Whatever compares customers compares this form.
    pub fn normalised(&self) -> String {
        email_syntax::normalised(&self.0)
    }

    /// A text in which an address is searched, in the form that [`normalised`](Self::normalised) gives to the part before
    /// the `@`.
    pub fn fold_case(text: &str) -> String {
        email_syntax::fold_case(text)
    }

    /// The forms that earlier versions had instead, the latest first. Stored digests and hashes may contain them.
    pub fn earlier_forms(&self) -> Vec<String> {
        email_syntax::earlier_forms(&self.0)
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

/// For serde. See the module's documentation.
impl TryFrom<String> for CustomerName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_acceptable(&text, Self::MAX_CHARS) { Ok(Self(text)) } else { Err("not the name of a customer") }
    }
}

impl From<CustomerName> for String {
    fn from(name: CustomerName) -> Self {
        name.0
    }
}

/// For serde. See the module's documentation.
impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_acceptable(&text, Self::MAX_CHARS) && text.contains('@') {
            Ok(Self(text))
        } else {
            Err("not the e-mail address of a customer")
        }
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
    fn a_name_is_trimmed_and_has_a_visible_character_and_no_forbidden_one() {
        assert_eq!(CustomerName::parse("  Alice ").unwrap().as_str(), "Alice");
        assert_eq!(CustomerName::parse(" \t"), Err(NameError::Empty));
        assert_eq!(CustomerName::parse(&"न".repeat(101)), Err(NameError::TooLong));
        assert!(CustomerName::parse(&"न".repeat(100)).is_ok());
        assert!(CustomerName::parse("क्\u{200d}षितिज").is_ok());
        let error = |text: &str| CustomerName::parse(text).unwrap_err();
        assert_eq!(error("A\0lice"), NameError::Characters(TextError::Forbidden('\0')));
        assert_eq!(error("\u{202e}Alice"), NameError::Characters(TextError::Forbidden('\u{202e}')));
        assert_eq!(error("\u{2800}"), NameError::Characters(TextError::Invisible));
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
    fn a_booking_that_another_version_has_accepted_can_be_read() {
        // Earlier versions accepted these.
        for name in ["\u{200b}", "\u{202e}Alice", "Al\u{ad}ice"] {
            assert!(CustomerName::parse(name).is_err());
            let read: CustomerName = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            assert_eq!(read.as_str(), name);
        }
        assert!(Email::parse("a@b!c.d").is_err());
        assert!(serde_json::from_str::<Email>("\"a@b!c.d\"").is_ok());
        // No version has accepted these.
        for invalid in ["\"\"", "\" \"", "\"a\\u0000@b.c\"", "7", &format!("\"{}@b.c\"", "a".repeat(254))] {
            assert!(serde_json::from_str::<CustomerName>(invalid).is_err(), "{invalid}");
            assert!(serde_json::from_str::<Email>(invalid).is_err(), "{invalid}");
        }
        assert!(serde_json::from_str::<Email>("\"Alice\"").is_err());
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
