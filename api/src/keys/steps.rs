//! The steps of a change of `TICKET_KEYS`, as pure functions: what the next value is, and why a step must wait.
//!
//! ```text
//!  OLD ──add──▶ OLD,NEW ──switch──▶ NEW,OLD ──remove──▶ NEW
//! ```
//!
//! The first key signs and all verify. A step is safe if every instance runs with the value of the step before: then no
//! instance meets a ticket of a key that it does not have. So each step compares the value with what all instances report,
//! and no state is stored anywhere else.

use std::fmt;
use std::time::Duration;

use hamro_shared::domain::TicketKeys;
use humantime::format_duration;
use rand::Rng;

/// The value of `TICKET_KEYS`, of which at least one key is known to be valid.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyList(Vec<Key>);

#[derive(Clone, PartialEq, Eq)]
struct Key {
    /// 64 hexadecimal digits.
    text: String,
    fingerprint: String,
}

/// What an instance reports in its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// For operators.
    pub name: String,
    /// `None`: an earlier version, which does not report it.
    pub report: Option<Report>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub fingerprints: Vec<String>,
    pub uptime: Duration,
    /// How long after its end tickets of an instance may be in the queue.
    pub tickets_live: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Add,
    Switch,
    Remove {
        /// The old key has leaked, so its tickets are given up.
        without_waiting: bool,
    },
}

/// Why a step cannot be taken now, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "no api instance is heard, so it is unknown which keys are in use: start the instances, or compare AMQP_URL and \
         QUEUE_PREFIX with theirs"
    )]
    NoInstance,
    #[error("only {heard} of {expected} api instances are heard: start the others, or correct --instances")]
    TooFew { heard: usize, expected: usize },
    #[error("instance {0} has an earlier version, which does not report its keys: upgrade it first")]
    Unknown(String),
    #[error(
        "instance {name} runs with other keys ({found}) than the stored ones ({stored}): restart it with these. The step \
         before this one has not ended"
    )]
    NotRestarted { name: String, found: String, stored: String },
    #[error("there is only one key: add the new one first (`hamro-api keys add`)")]
    OnlyOneKey,
    #[error(
        "tickets of key {key} may still be in the queue: wait {}, until {} after the start of the last instance. If the key \
         has leaked, --without-waiting gives them up",
        in_words(.wait),
        in_words(.total)
    )]
    Waiting { key: String, wait: Duration, total: Duration },
}

impl KeyList {
    /// Fails with what is expected.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let keys = text.trim().split(',').map(|key| -> anyhow::Result<Key> {
            let text = key.trim().to_ascii_lowercase();
            let fingerprint = TicketKeys::parse(&text)?.fingerprints().remove(0);
            Ok(Key { text, fingerprint })
        });
        Ok(Self(keys.collect::<anyhow::Result<_>>()?))
    }

    /// A new random key.
    pub fn generate() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let text = hex::encode(key);
        let fingerprint = TicketKeys::parse(&text).map(|keys| keys.fingerprints().remove(0));
        Self(vec![Key { fingerprint: fingerprint.expect("64 hexadecimal digits are a key"), text }])
    }

    /// The value to store. It is secret.
    pub fn secret(&self) -> String {
        self.0.iter().map(|key| key.text.as_str()).collect::<Vec<_>>().join(",")
    }

    pub fn fingerprints(&self) -> Vec<String> {
        self.0.iter().map(|key| key.fingerprint.clone()).collect()
    }

    /// The value after this step; `new` is the key to add.
    pub fn after(&self, step: Step, new: Self, instances: &[Instance]) -> Result<Self, Refusal> {
        self.runs_on(instances)?;
        let mut keys = self.0.clone();
        match step {
            Step::Add => keys.extend(new.0),
            _ if keys.len() < 2 => return Err(Refusal::OnlyOneKey),
            Step::Switch => keys.rotate_right(1),
            Step::Remove { without_waiting } => {
                if let Some(old) = keys.pop()
                    && !without_waiting
                {
                    no_ticket_is_queued(&old, instances)?;
                }
            }
        }
        Ok(Self(keys))
    }

    /// Whether all instances run with this value.
    fn runs_on(&self, instances: &[Instance]) -> Result<(), Refusal> {
        let stored = self.fingerprints();
        for Instance { name, report } in instances {
            let report = report.as_ref().ok_or_else(|| Refusal::Unknown(name.clone()))?;
            if report.fingerprints != stored {
                let (found, stored) = (report.fingerprints.join(","), stored.join(","));
                return Err(Refusal::NotRestarted { name: name.clone(), found, stored });
            }
        }
        if instances.is_empty() { Err(Refusal::NoInstance) } else { Ok(()) }
    }
}

/// The key signs nothing since the start of the last instance, and every ticket has a deadline.
fn no_ticket_is_queued(key: &Key, instances: &[Instance]) -> Result<(), Refusal> {
    let reports = || instances.iter().filter_map(|instance| instance.report.as_ref());
    let total = reports().map(|report| report.tickets_live).max().unwrap_or_default();
    let uptime = reports().map(|report| report.uptime).min().unwrap_or_default();
    let wait = total.saturating_sub(uptime);
    if wait.is_zero() {
        return Ok(());
    }
    Err(Refusal::Waiting { key: key.fingerprint.clone(), wait, total })
}

/// In whole seconds, rounded up.
fn in_words(duration: &Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    format_duration(Duration::from_secs(seconds)).to_string()
}

impl fmt::Display for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprints().join(","))
    }
}

impl fmt::Debug for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyList({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(digits: &str) -> KeyList {
        let keys: Vec<_> = digits.chars().map(|digit| digit.to_string().repeat(64)).collect();
        KeyList::parse(&keys.join(",")).unwrap()
    }

    fn instance(digits: &str, uptime: u64) -> Instance {
        let report = Report {
            fingerprints: keys(digits).fingerprints(),
            uptime: Duration::from_secs(uptime),
            tickets_live: Duration::from_secs(930),
        };
        Instance { name: "one".to_owned(), report: Some(report) }
    }

    fn after(digits: &str, step: Step, instances: &[Instance]) -> Result<KeyList, Refusal> {
        keys(digits).after(step, keys("f"), instances)
    }

    const REMOVE: Step = Step::Remove { without_waiting: false };

    #[test]
    fn a_change_adds_switches_and_removes() {
        assert_eq!(after("a", Step::Add, &[instance("a", 1)]), Ok(keys("af")));
        assert_eq!(after("af", Step::Switch, &[instance("af", 1)]), Ok(keys("fa")));
        assert_eq!(after("fa", REMOVE, &[instance("fa", 930), instance("fa", 931)]), Ok(keys("f")));
        // An old key whose tickets are still looked at does not prevent the next change.
        assert_eq!(after("ba", Step::Add, &[instance("ba", 1)]), Ok(keys("baf")));
        assert_eq!(after("baf", Step::Switch, &[instance("baf", 1)]), Ok(keys("fba")));
    }

    #[test]
    fn a_step_is_refused_until_every_instance_runs_with_the_step_before() {
        for step in [Step::Add, Step::Switch, REMOVE] {
            let both = [instance("af", 2_000), instance("a", 2_000)];
            assert!(matches!(after("af", step, &both), Err(Refusal::NotRestarted { .. })), "{step:?}");
            assert_eq!(after("af", step, &[]), Err(Refusal::NoInstance), "{step:?}");
            let earlier = Instance { name: "old".to_owned(), report: None };
            assert_eq!(
                after("af", step, &[instance("af", 1), earlier]),
                Err(Refusal::Unknown("old".to_owned()))
            );
        }
        // The same keys in another order sign with another key.
        assert!(matches!(after("fa", REMOVE, &[instance("af", 2_000)]), Err(Refusal::NotRestarted { .. })));
        for step in [Step::Switch, REMOVE] {
            assert_eq!(after("a", step, &[instance("a", 2_000)]), Err(Refusal::OnlyOneKey));
        }
    }

    #[test]
    fn a_key_is_removed_only_when_its_last_ticket_has_expired() {
        let instances = [instance("fa", 2_000), instance("fa", 900)];
        let refusal = after("fa", REMOVE, &instances).unwrap_err();
        assert!(refusal.to_string().contains("wait 30s, until 15m 30s after"), "{refusal}");
        assert_eq!(after("fa", Step::Remove { without_waiting: true }, &instances), Ok(keys("f")));
    }

    #[test]
    fn no_error_and_no_debug_output_contains_a_key() {
        let secret = keys("a").secret();
        assert!(!format!("{:?}", keys("a")).contains(&secret));
        let refusal = after("ab", Step::Switch, &[instance("a", 1)]).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains(&secret));
        assert!(KeyList::parse("hunter2").unwrap_err().to_string().contains("64 hexadecimal digits"));
        assert_ne!(KeyList::generate(), KeyList::generate());
    }
}
