//! Settings are read from the environment, once, at start. A section of settings is a struct with a `read(&mut Env)`.
//! All errors are reported together, each with the name of its variable, before anything starts.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

/// The environment, and the errors found in it so far.
pub struct Env {
    lookup: Lookup,
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

    fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { lookup: Box::new(lookup), errors: Vec::new() }
    }

    /// Reads a variable that must be set. Records an error and returns `None` if it is missing or `parse` fails.
    /// `expected` describes a valid value.
    pub fn required<T, E>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.lookup(name) {
            None => {
                self.errors.push(format!("{name} is not set: it should be {expected}"));
                None
            }
            Some(value) => self.parsed(name, &value, expected, parse),
        }
    }

    /// Reads a variable that may be missing (`Some(None)`). The outer `None` means that an error was recorded.
    pub fn optional<T, E>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match self.lookup(name) {
            None => Some(None),
            Some(value) => self.parsed(name, &value, expected, parse).map(Some),
        }
    }

    /// Reads a variable that has a default.
    pub fn or_default<T: Setting>(&mut self, name: &str, default: T, expected: &str) -> Option<T> {
        match self.lookup(name) {
            None => Some(default),
            Some(value) => self.parsed(name, &value, expected, |text| T::parse(text).ok_or(())),
        }
    }

    /// Records an error that `parse` cannot find, such as two settings that contradict each other.
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

    /// An empty variable counts as missing, because a compose file turns a missing variable into an empty one.
    fn lookup(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn parsed<T, E>(
        &mut self,
        name: &str,
        value: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(value.trim()).ok();
        if parsed.is_none() {
            // The message omits the value: it may be a secret.
            self.errors.push(format!("{name} is invalid: it should be {expected}"));
        }
        parsed
    }
}

/// A type that a setting with a default can have.
pub trait Setting: Sized {
    fn parse(text: &str) -> Option<Self>;
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

from_str_setting!(u16, u32, usize, String, std::net::IpAddr, std::num::NonZeroU16, std::num::NonZeroUsize);

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
    use super::*;

    #[test]
    fn a_configuration_error_names_each_invalid_variable_and_its_expected_value() {
        let mut env =
            Env::of(&[("PORT", "http"), ("BOOKING_WAIT", "10s"), ("SECRET", "hunter2"), ("EMPTY", " ")]);
        assert_eq!(env.or_default("PORT", 3000_u16, "a TCP port such as 3000"), None);
        assert_eq!(
            env.or_default("BOOKING_WAIT", Duration::ZERO, "a duration such as 10s"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(env.or_default("EMPTY", 7_u16, "a number"), Some(7));
        assert_eq!(env.required("AMQP_URL", "amqp://user:password@host:5672/%2f", |_| Ok::<_, ()>(())), None);
        assert_eq!(env.required("SECRET", "longer", |_| Err::<(), ()>(())), None);
        let error = env.finish(Some(())).unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid configuration:\
             \n  PORT is invalid: it should be a TCP port such as 3000\
             \n  AMQP_URL is not set: it should be amqp://user:password@host:5672/%2f\
             \n  SECRET is invalid: it should be longer"
        );
    }
}
