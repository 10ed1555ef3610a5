//! Settings are read from the environment, once, at start. A section of settings is a struct with a `read(&mut Env)`.
//! All errors are reported together, each with the name of its variable, before anything starts.
//!
//! A setting is described where it is read. `Env` records the descriptions. `--help`, `.env.example` and the table in
//! docs/ARCHITECTURE.md are made from this record, so they cannot omit a setting or state another default.
//!
//! A secret can also be read from a file, which the variable `NAME_FILE` names (`secret_file`).

pub mod connection_url;
mod reader;
mod secret_file;
pub mod shared_settings;
mod url_password;
mod variable;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;

pub use self::reader::VariableReader;
pub use self::variable::{Presence, SECRET_FILES, Variable, help};

/// The environment, the variables read from it so far, and the errors found in them.
pub struct Env {
    lookup: Lookup,
    variables: Vec<Variable>,
    errors: Vec<String>,
    warnings: Warnings,
}

/// What an operator should change although the program runs. Clones share the list, which is complete once all settings
/// have been read: only then can logging start.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Removes and returns the warnings.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, warning: String) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two settings may read one file, and a command may read a setting twice.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
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
        Self {
            lookup: Box::new(lookup),
            variables: Vec::new(),
            errors: Vec::new(),
            warnings: Warnings::default(),
        }
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
        VariableReader::new(self, variable)
    }

    /// Records an error that the value of one variable does not show, such as two settings that contradict each other.
    pub fn record_error(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    /// Records something that an operator should change.
    pub fn record_warning(&self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Records a warning if other users of this machine can read a file of secrets, which `name` names.
    pub fn warn_if_exposed(&self, name: &str, file: &Path) {
        if let Some(exposure) = secret_file::exposure(file) {
            self.record_warning(format!("{name}: {exposure}"));
        }
    }

    /// The warnings, also those that are still to come.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    /// An empty variable counts as missing, because a compose file turns a missing variable into an empty one.
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns what was built from the settings, unless an error was recorded.
    pub fn finish<T>(self, built: Option<T>) -> Result<T, ConfigError> {
        match built {
            Some(built) if self.errors.is_empty() => Ok(built),
            _ => Err(ConfigError(self.errors)),
        }
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

    /// What in a valid text may do something else than its author expects.
    fn warnings(_text: &str) -> Vec<String> {
        Vec::new()
    }

    /// The files with secrets that a valid text names, each after the name of its part.
    fn secret_files(_text: &str) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
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

    #[test]
    fn a_secret_is_read_from_the_file_that_its_variable_names() {
        let file = format!("{}/secret-{:032x}", std::env::temp_dir().display(), rand::random::<u128>());
        std::fs::write(&file, "00112233\n").unwrap();
        let mut env = Env::of(&[
            ("A_FILE", &file),
            ("B", "value"),
            ("B_FILE", &file),
            ("C_FILE", "/nowhere"),
            ("D_FILE", &file),
            ("E_FILE", &file),
            ("F", " "),
            ("F_FILE", &file),
        ]);
        assert_eq!(env.variable("A", "", "a text").secret().required(), Some("00112233".to_owned()));
        assert_eq!(env.variable("B", "", "a text").secret().required::<String>(), None);
        assert_eq!(env.variable("C", "", "a text").secret().optional::<String>(), None);
        // No secret: its file is not read.
        assert_eq!(env.variable("D", "", "a text").optional::<String>(), Some(None));
        assert_eq!(env.variable("E", "", "an address").secret().optional::<IpAddr>(), None);
        assert_eq!(env.variable("F", "", "a text").secret().or_default("x"), Some("00112233".to_owned()));
        std::fs::remove_file(&file).unwrap();
        let error = env.finish(Some(())).unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid configuration:\
             \n  B and B_FILE are both set: remove one of them\
             \n  C_FILE is invalid: /nowhere does not exist: create it, or correct the path; it should be the path of a \
             file that contains C\
             \n  E (the content of E_FILE) is invalid: it should be an address"
        );
    }

    #[test]
    fn a_file_of_a_secret_that_others_can_read_causes_a_warning_and_no_error() {
        use std::os::unix::fs::PermissionsExt;
        let file = format!("{}/secret-{:032x}", std::env::temp_dir().display(), rand::random::<u128>());
        std::fs::write(&file, "hunter2").unwrap();
        let warnings_at = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let mut env = Env::of(&[("A_FILE", &file)]);
            let warnings = env.warnings();
            for _ in 0..2 {
                assert_eq!(env.variable("A", "", "").secret().required(), Some("hunter2".to_owned()));
            }
            assert_eq!(env.finish(Some(())), Ok(()));
            warnings.take()
        };
        assert_eq!(warnings_at(0o600), [""; 0]);
        let warnings = warnings_at(0o644);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("A_FILE: every user of this machine can access "), "{warnings:?}");
        assert!(!warnings[0].contains("hunter2"), "{warnings:?}");
    }

    #[test]
    fn the_password_of_a_url_may_be_a_variable_of_its_own() {
        let read = |variables: &[(&str, &str)]| {
            let mut env = Env::of(variables);
            let url: Option<String> =
                env.variable("URL", "", "a URL").secret().with_password("PASSWORD").required();
            env.finish(url).map_err(|error| error.to_string())
        };
        let url = read(&[("URL", "amqp://u@rabbit/%2f"), ("PASSWORD", "p/w")]);
        assert_eq!(url.as_deref(), Ok("amqp://u:p%2Fw@rabbit/%2f"));
        assert_eq!(read(&[("URL", "amqp://u:p@rabbit/%2f")]).as_deref(), Ok("amqp://u:p@rabbit/%2f"));
        let error = read(&[("URL", "amqp://u:p@rabbit/%2f"), ("PASSWORD", "q")]).unwrap_err();
        assert!(
            error.contains("URL is invalid: PASSWORD is set, but the URL contains a password"),
            "{error}"
        );
        let described = Env::variables_read_by(|env| {
            let _: Option<String> = env.variable("URL", "", "").secret().with_password("PASSWORD").required();
        });
        assert_eq!(
            described.iter().map(|it| (it.name, it.is_secret)).collect::<Vec<_>>(),
            [("URL", true), ("PASSWORD", true)]
        );
    }
}
