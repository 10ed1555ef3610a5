//! Settings are read from the environment, once, at start. A section of settings is a struct with a `read(&mut Env)`.
//! All errors are reported together, each with the name of its variable, before anything starts.
//!
//! A setting is described where it is read. `Env` records the descriptions. `--help`, `.env.example` and the table in
//! docs/ARCHITECTURE.md are made from this record, so they cannot omit a setting or state another default.

pub mod connection_url;
pub mod shared_settings;
mod variable;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

pub use self::variable::{Presence, Variable, help};

/// The environment, the variables read from it so far, and the errors found in them.
pub struct Env {
    lookup: Lookup,
    variables: Vec<Variable>,
    errors: Vec<String>,
}

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// All errors found in the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid configuration:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl Env {
    /// The environment of this process.
    pub fn process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        Self::new(|name| std::env::var(name).ok())
    }

    /// An environment of only these variables.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<(String, String)> =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self::new(move |name| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    /// Describes the variables that `read` reads, in that order. `read` runs in an empty environment.
    pub fn variables_read_by<T>(read: impl FnOnce(&mut Self) -> T) -> Vec<Variable> {
        let mut env = Self::of(&[]);
        read(&mut env);
        env.variables
    }

    fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { lookup: Box::new(lookup), variables: Vec::new(), errors: Vec::new() }
    }

    /// Describes a variable, which the methods of the returned value read. `meaning` is a sentence for operators.
    /// `expected` is a valid value in words, with an example.
    pub fn variable(
        &mut self,
        name: &'static str,
        meaning: &'static str,
        expected: impl Into<Cow<'static, str>>,
    ) -> VariableReader<'_> {
        let expected = expected.into();
        let variable = Variable { name, meaning, expected, is_secret: false, presence: Presence::Required };
        VariableReader { env: self, variable }
    }

    /// Records an error that the value of one variable does not show, such as two settings that contradict each other.
    pub fn record_error(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    /// Returns what was built from the settings, unless an error was recorded.
    pub fn finish<T>(self, built: Option<T>) -> Result<T, ConfigError> {
        match built {
            Some(built) if self.errors.is_empty() => Ok(built),
            _ => Err(ConfigError(self.errors)),
        }
    }
}

/// Reads a variable that [`Env::variable`] has described.
#[must_use = "`required`, `optional` and `or_default` read the variable"]
pub struct VariableReader<'env> {
    env: &'env mut Env,
    variable: Variable,
}

impl VariableReader<'_> {
    /// The value is, or contains, a password or a key.
    pub fn secret(mut self) -> Self {
        self.variable.is_secret = true;
        self
    }

    /// Reads a variable that must be set. Records an error and returns `None` if it is missing or invalid.
    pub fn required<T: Setting>(self) -> Option<T> {
        let reader = self.with(Presence::Required);
        match reader.value() {
            Some(value) => reader.parse(&value),
            None => {
                let Variable { name, expected, .. } = &reader.variable;
                reader.env.errors.push(format!("{name} is not set: it should be {expected}"));
                None
            }
        }
    }

    /// Reads a variable that may be missing (`Some(None)`). The outer `None` means that an error was recorded.
    pub fn optional<T: Setting>(self) -> Option<Option<T>> {
        let reader = self.with(Presence::Optional);
        match reader.value() {
            Some(value) => reader.parse(&value).map(Some),
            None => Some(None),
        }
    }

    /// Reads a variable whose value is `default` if it is missing. `None` means that an error was recorded.
    pub fn or_default<T: Setting>(self, default: &'static str) -> Option<T> {
        let reader = self.with(Presence::Default(default));
        let value = reader.value().unwrap_or_else(|| default.to_owned());
        reader.parse(&value)
    }

    /// Records the description, which is complete now.
    fn with(mut self, presence: Presence) -> Self {
        self.variable.presence = presence;
        self.env.variables.push(self.variable.clone());
        self
    }

    /// An empty variable counts as missing, because a compose file turns a missing variable into an empty one.
    fn value(&self) -> Option<String> {
        (self.env.lookup)(self.variable.name).filter(|value| !value.trim().is_empty())
    }

    fn parse<T: Setting>(self, value: &str) -> Option<T> {
        let value = value.trim();
        let parsed = T::parse(value);
        if parsed.is_none() {
            // The message omits the value: it may be a secret.
            let Variable { name, expected, .. } = self.variable;
            let problem = T::problem(value).map(|problem| format!("{problem}; ")).unwrap_or_default();
            self.env.errors.push(format!("{name} is invalid: {problem}it should be {expected}"));
        }
        parsed
    }
}

/// A type that a setting can have.
pub trait Setting: Sized {
    fn parse(text: &str) -> Option<Self>;

    /// What is wrong with a text that `parse` refuses, if more can be said than how it should be. Must not contain the
    /// text, which may be a secret.
    fn problem(_text: &str) -> Option<String> {
        None
    }
}

macro_rules! from_str_setting {
    ($($type:ty),*) => {
        $(impl Setting for $type {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })*
    };
}

from_str_setting!(u16, u32, String, std::net::IpAddr, std::net::SocketAddr);
from_str_setting!(std::num::NonZeroU16, std::num::NonZeroU32, std::num::NonZeroUsize);

impl Setting for bool {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
}

/// `15m`, `10s`, `500ms`, `1h 30m`.
impl Setting for Duration {
    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }
}

impl Setting for SecretString {
    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_configuration_error_names_each_invalid_variable_and_its_expected_value() {
        let mut env =
            Env::of(&[("PORT", "http"), ("BOOKING_WAIT", "10s"), ("SECRET", "hunter2"), ("EMPTY", " ")]);
        assert_eq!(env.variable("PORT", "", "a TCP port such as 3000").or_default::<u16>("3000"), None);
        assert_eq!(
            env.variable("BOOKING_WAIT", "", "a duration such as 10s").or_default("0s"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(env.variable("EMPTY", "", "a number").or_default("7"), Some(7_u16));
        assert_eq!(env.variable("HOST", "", "an address").required::<IpAddr>(), None);
        assert_eq!(env.variable("SECRET", "", "a number").secret().optional::<u16>(), None);
        assert_eq!(env.variable("MISSING", "", "a number").optional::<u16>(), Some(None));
        let error = env.finish(Some(())).unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid configuration:\
             \n  PORT is invalid: it should be a TCP port such as 3000\
             \n  HOST is not set: it should be an address\
             \n  SECRET is invalid: it should be a number"
        );
    }

    #[test]
    fn every_variable_that_is_read_is_described_in_order_whether_or_not_it_is_valid() {
        let variables = Env::variables_read_by(|env| {
            let _: Option<u16> = env.variable("A", "First.", "a number").secret().required();
            let _: Option<u16> = env.variable("B", "Second.", "a number").or_default("three");
            let _: Option<Option<u16>> = env.variable("C", "Third.", "a number").optional();
        });
        let described: Vec<_> =
            variables.iter().map(|it| (it.name, it.meaning, it.is_secret, it.presence)).collect();
        assert_eq!(
            described,
            [
                ("A", "First.", true, Presence::Required),
                ("B", "Second.", false, Presence::Default("three")),
                ("C", "Third.", false, Presence::Optional),
            ]
        );
    }
}
