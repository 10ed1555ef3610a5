//! Reads one variable of an [`Env`].

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{Env, Presence, Setting, Variable, secret_file, url_password};

/// Reads a variable that [`Env::variable`] has described.
#[must_use = "`required`, `optional` and `or_default` read the variable"]
pub struct VariableReader<'env> {
    env: &'env mut Env,
    variable: Variable,
    /// The variable of the password that belongs into a URL, and its value.
    password: Option<(&'static str, Option<SecretString>)>,
}

/// A value, and what to call it in an error.
struct Found {
    value: String,
    origin: String,
}

/// The value cannot be used, and `Env` has the reason.
struct ErrorRecorded;

impl<'env> VariableReader<'env> {
    pub(super) fn new(env: &'env mut Env, variable: Variable) -> Self {
        Self { env, variable, password: None }
    }

    /// The value is, or contains, a password or a key. It may also be in a file, which the variable `NAME_FILE` names.
    pub fn secret(mut self) -> Self {
        self.variable.is_secret = true;
        self
    }

    /// The value is a URL, whose password may also be in a variable with this name.
    pub fn with_password(mut self, name: &'static str) -> Self {
        self.password = Some((name, None));
        self
    }

    /// Reads a variable that must be set. Records an error and returns `None` if it is missing or invalid.
    pub fn required<T: Setting>(self) -> Option<T> {
        let mut reader = self.with(Presence::Required)?;
        match reader.found().ok()? {
            Some(found) => reader.parse(found),
            None => {
                let Variable { name, expected, .. } = &reader.variable;
                reader.env.errors.push(format!("{name} is not set: it should be {expected}"));
                None
            }
        }
    }

    /// Reads a variable that may be missing (`Some(None)`). The outer `None` means that an error was recorded.
    pub fn optional<T: Setting>(self) -> Option<Option<T>> {
        let mut reader = self.with(Presence::Optional)?;
        match reader.found().ok()? {
            Some(found) => reader.parse(found).map(Some),
            None => Some(None),
        }
    }

    /// Reads a variable whose value is `default` if it is missing. `None` means that an error was recorded.
    pub fn or_default<T: Setting>(self, default: &'static str) -> Option<T> {
        let mut reader = self.with(Presence::Default(default))?;
        let found = reader.found().ok()?;
        let name = reader.variable.name;
        let found = found.unwrap_or_else(|| Found { value: default.to_owned(), origin: name.to_owned() });
        reader.parse(found)
    }

    /// Records the description, which is complete now, and reads the password. `None` means that an error was recorded.
    fn with(mut self, presence: Presence) -> Option<Self> {
        self.variable.presence = presence;
        self.env.variables.push(self.variable.clone());
        if let Some((name, password)) = &mut self.password {
            *password = self
                .env
                .variable(name, "Password of the user in the URL, if the URL contains none.", "a password")
                .secret()
                .optional()?;
        }
        Some(self)
    }

    /// The value from the environment, or a secret from its file.
    fn found(&mut self) -> Result<Option<Found>, ErrorRecorded> {
        let name = self.variable.name;
        let value = self.env.get(name).map(|value| Found { value, origin: name.to_owned() });
        let file_name = format!("{name}_FILE");
        let file = self.env.get(&file_name).filter(|_| self.variable.is_secret);
        let Some(file) = file else { return Ok(value) };
        if value.is_some() {
            self.env.record_error(format!("{name} and {file_name} are both set: remove one of them"));
            return Err(ErrorRecorded);
        }
        let file = Path::new(file.trim());
        match secret_file::read(file) {
            Ok(value) => {
                self.env.warn_if_exposed(&file_name, file);
                Ok(Some(Found { value, origin: format!("{name} (the content of {file_name})") }))
            }
            Err(problem) => {
                self.env.record_error(format!(
                    "{file_name} is invalid: {problem}; it should be the path of a file that contains {name}"
                ));
                Err(ErrorRecorded)
            }
        }
    }

    fn parse<T: Setting>(self, Found { value, origin }: Found) -> Option<T> {
        let Self { env, variable: Variable { expected, .. }, password } = self;
        let mut value = value.trim().to_owned();
        if let Some((name, Some(password))) = password {
            match url_password::insert(&value, password.expose_secret(), name) {
                Ok(complete) => value = complete,
                Err(problem) => {
                    env.errors.push(format!("{origin} is invalid: {problem}; it should be {expected}"));
                    return None;
                }
            }
        }
        let parsed = T::parse(&value);
        if parsed.is_none() {
            // The message omits the value: it may be a secret.
            let problem = T::problem(&value).map(|problem| format!("{problem}; ")).unwrap_or_default();
            env.errors.push(format!("{origin} is invalid: {problem}it should be {expected}"));
            return None;
        }
        for warning in T::warnings(&value) {
            env.record_warning(format!("{origin}: {warning}"));
        }
        for (part, file) in T::secret_files(&value) {
            env.warn_if_exposed(&format!("{part} of {origin}"), &file);
        }
        parsed
    }
}
