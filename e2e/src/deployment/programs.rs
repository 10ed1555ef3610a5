//! The programs of a deployment: those of this build, or of another one that runs beside it.

use super::environment::optional_test_setting;

/// Names of programs of this build, or paths of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    pub api: String,
    pub worker: String,
}

impl Default for Programs {
    /// This build.
    fn default() -> Self {
        Self { api: "hamro-api".to_owned(), worker: "hamro-worker".to_owned() }
    }
}

impl Programs {
    /// An earlier build, which `make test-upgrade` makes. Without one, this build stands for it.
    pub fn previous() -> Self {
        let this = Self::default();
        Self {
            api: optional_test_setting("HAMRO_PREVIOUS_API").unwrap_or(this.api),
            worker: optional_test_setting("HAMRO_PREVIOUS_WORKER").unwrap_or(this.worker),
        }
    }
}
