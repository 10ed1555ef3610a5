//! The setting of the auditor.

use std::time::Duration;

use hamro_shared::config::{Env, Setting};

/// How often to check all rows; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    pub every: Option<Duration>,
}

impl AuditConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let every: Every = env
            .variable(
                "AUDIT_EVERY",
                "How often one of the workers compares all seats, sales and counters in the background. off: this worker \
                 never does.",
                "a duration such as 10m, or off",
            )
            .or_default("10m")?;
        Some(Self { every: every.0 })
    }
}

struct Every(Option<Duration>);

impl Setting for Every {
    fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self(None));
        }
        Duration::parse(text).map(|every| Self(Some(every).filter(|every| !every.is_zero())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<AuditConfig> {
        AuditConfig::read(&mut Env::of(&[("AUDIT_EVERY", value)]))
    }

    #[test]
    fn an_interval_of_zero_and_off_disable_the_auditor() {
        assert_eq!(read("").unwrap().every, Some(Duration::from_mins(10)));
        assert_eq!(read("90s").unwrap().every, Some(Duration::from_secs(90)));
        for disabled in ["off", "0s"] {
            assert_eq!(read(disabled).unwrap().every, None);
        }
        assert!(read("sometimes").is_none());
    }
}
