//! Descriptions of settings, and the part of `--help` that lists them.

use std::borrow::Cow;
use std::fmt::Write;

/// What an operator has to know about one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What the setting does: one sentence or two.
    pub meaning: &'static str,
    /// A valid value in words, with an example. Completes "it should be".
    pub expected: Cow<'static, str>,
    /// Whether the value is, or contains, a password or a key.
    pub is_secret: bool,
    pub presence: Presence,
}

/// Whether a variable may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
    /// If it is missing, this is its value.
    Default(&'static str),
}

/// What holds for every secret setting, for operators.
pub const SECRET_FILES: &str = "\
The value of a secret setting can also be in a file, such as a secret of Docker, Kubernetes or systemd: NAME_FILE is the
path of the file, and NAME must then be unset. One line break at the end of the file does not belong to the value. The
file should be readable by the program only.";

/// Lists the variables for `--help`.
pub fn help(variables: &[Variable]) -> String {
    let mut text = "Settings, which are environment variables:".to_owned();
    for Variable { name, meaning, expected, presence, is_secret } in variables {
        let presence = match presence {
            Presence::Required => " (required)".to_owned(),
            Presence::Optional => String::new(),
            Presence::Default(default) => format!(" (default: {default})"),
        };
        let secret = if *is_secret { " Secret." } else { "" };
        let _ = write!(text, "\n\n  {name}{presence}\n      {meaning}\n      Form: {expected}.{secret}");
    }
    if variables.iter().any(|variable| variable.is_secret) {
        let _ = write!(text, "\n\n{SECRET_FILES}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    #[test]
    fn help_lists_each_variable_with_its_default_meaning_and_form() {
        let variables = Env::variables_read_by(|env| {
            let _: Option<String> = env.variable("KEY", "Signs tickets.", "a key").secret().required();
            let _: Option<u16> = env.variable("PORT", "Port to listen on.", "a TCP port").or_default("3000");
        });
        assert_eq!(
            help(&variables),
            "Settings, which are environment variables:\
             \n\n  KEY (required)\n      Signs tickets.\n      Form: a key. Secret.\
             \n\n  PORT (default: 3000)\n      Port to listen on.\n      Form: a TCP port.\
             \n\nThe value of a secret setting can also be in a file, such as a secret of Docker, Kubernetes or systemd: \
             NAME_FILE is the\npath of the file, and NAME must then be unset. One line break at the end of the file \
             does not belong to the value. The\nfile should be readable by the program only."
        );
    }
}
