//! Settings come from the environment, once, at start. A section of settings is a struct with a
//! `read(&mut Env)`; whatever is wrong with any of them is said together, by name, before anything starts.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

/// The environment, and what was found wrong with it so far.
pub struct Env {
    lookup: Lookup,
    faults: Vec<String>,
}

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Everything that is wrong with the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment is not complete:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Env {
    /// The environment of this process.
    pub fn process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        Self::new(|name| std::env::var(name).ok())
    }

    /// An environment of these variables alone.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<(String, String)> =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self::new(move |name| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { lookup: Box::new(lookup), faults: Vec::new() }
    }

    /// The variable's value by `parse`; `None`, and a fault noted, if it is missing or no value. `expected` says
    /// what it should look like.
    pub fn required<T, E>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.lookup(name) {
            None => {
                self.faults.push(format!("{name} is not set: it should be {expected}"));
                None
            }
            Some(value) => self.parsed(name, &value, expected, parse),
        }
    }

    /// The same, for a variable that may be left out; the outer `None` is a fault.
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

    /// The same, for a variable that has a default.
    pub fn or<T: Setting>(&mut self, name: &str, default: T, expected: &str) -> Option<T> {
        match self.lookup(name) {
            None => Some(default),
            Some(value) => self.parsed(name, &value, expected, |text| T::parse(text).ok_or(())),
        }
    }

    /// Notes that two settings, each fine by itself, do not go together.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// What was built of the settings, if nothing was wrong with any of them.
    pub fn finish<T>(self, built: Option<T>) -> Result<T, ConfigError> {
        match built {
            Some(built) if self.faults.is_empty() => Ok(built),
            _ => Err(ConfigError(self.faults)),
        }
    }

    /// An empty variable counts as one that is not set: that is what a compose file makes of a missing one.
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
            // The value itself may be a secret.
            self.faults.push(format!("{name} is set to something else: it should be {expected}"));
        }
        parsed
    }
}

/// A type that a plain setting can have.
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
    fn every_fault_is_named_with_what_the_variable_should_look_like() {
        let mut env =
            Env::of(&[("PORT", "http"), ("BOOKING_WAIT", "10s"), ("SECRET", "hunter2"), ("EMPTY", " ")]);
        assert_eq!(env.or("PORT", 3000_u16, "a TCP port such as 3000"), None);
        assert_eq!(
            env.or("BOOKING_WAIT", Duration::ZERO, "a duration such as 10s"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(env.or("EMPTY", 7_u16, "a number"), Some(7));
        assert_eq!(env.required("AMQP_URL", "amqp://user:password@host:5672/%2f", |_| Ok::<_, ()>(())), None);
        assert_eq!(env.required("SECRET", "longer", |_| Err::<(), ()>(())), None);
        let error = env.finish(Some(())).unwrap_err().to_string();
        assert_eq!(
            error,
            "the environment is not complete:\
             \n  PORT is set to something else: it should be a TCP port such as 3000\
             \n  AMQP_URL is not set: it should be amqp://user:password@host:5672/%2f\
             \n  SECRET is set to something else: it should be longer"
        );
    }
}
