//! What policies do to the queues. A policy has precedence over the arguments of a queue, or the smaller of two numbers
//! applies, and RabbitMQ tells neither the programs nor the operator.

use std::time::Duration;

use hamro_shared::queue::Parcel;
use serde_json::{Map, Value};

use crate::doctor::report::{Finding, problems_or_ok};

const POLICIES: &str = "policies";

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Intake,
    /// It keeps parcels until a worker has taken them apart, or forwarded them. It has no limit.
    Safekeeping,
}

/// The policies of a queue, merged as RabbitMQ applies them.
pub struct Effective<'a> {
    pub queue: &'a str,
    pub role: Role,
    /// The names of the policy and of the operator policy.
    pub names: Vec<&'a str>,
    pub definition: &'a Map<String, Value>,
    /// The exchange to which RabbitMQ moves parcels from the intake queue.
    pub dead_letter_exchange: &'a str,
}

/// A smaller number of parcels waits for a worker even in a healthy rush.
const MAX_LENGTH_MIN: i64 = 1_000;
/// A smaller number of deaths of workers is usual.
const DELIVERY_LIMIT_MIN: i64 = 20;
/// A worker that waits for a lock acknowledges later than this.
const CONSUMER_TIMEOUT_MIN: Duration = Duration::from_mins(5);

pub fn check(effective: &Effective<'_>) -> Vec<Finding> {
    let Effective { queue, names, definition, .. } = effective;
    let problems: Vec<_> = definition
        .iter()
        .filter_map(|(key, value)| {
            let (is_error, finding) = effect(effective, key, value)?;
            let finding = format!("{key} = {value}: {finding}");
            let remedy = format!("remove {key} from the policy {}", names.join(" or "));
            let remedy = format!("{remedy} (rabbitmqctl list_policies, list_operator_policies)");
            let problem = if is_error { Finding::error } else { Finding::warning };
            Some(problem(POLICIES, finding, remedy).of(*queue))
        })
        .collect();
    problems_or_ok(problems, || {
        let text =
            if names.is_empty() { "none".to_owned() } else { format!("{} is harmless", names.join(" and ")) };
        Finding::ok(POLICIES, text).of(*queue)
    })
}

/// Whether a key of a policy loses bookings or stops the queue, and what it does. `None`: it is harmless.
fn effect(effective: &Effective<'_>, key: &str, value: &Value) -> Option<(bool, String)> {
    let error = |text: &str| Some((true, text.to_owned()));
    let number = value.as_i64().unwrap_or_default();
    match (key, effective.role) {
        ("expires", _) => error(
            "RabbitMQ deletes the queue, with the bookings in it, when no worker has used it for so long",
        ),
        ("message-ttl", Role::Intake) => {
            error("bookings that wait for so long in a rush are taken out of the queue, and set aside")
        }
        ("message-ttl", Role::Safekeeping) => error("accepted bookings are deleted without a trace"),
        ("overflow", Role::Intake) if value == "reject-publish" => None,
        ("overflow", Role::Intake) => error(
            "when the queue is full, RabbitMQ drops the oldest accepted bookings instead of refusing new ones, and \
             dead letters are no longer kept safely",
        ),
        ("dead-letter-strategy", _) if value == "at-least-once" => None,
        ("dead-letter-strategy", Role::Intake) => {
            error("a parcel may be lost on its way to the dead letters")
        }
        ("dead-letter-exchange", Role::Intake) if value == effective.dead_letter_exchange => None,
        ("dead-letter-exchange", Role::Intake) => error("dead letters go where no worker finds them"),
        ("dead-letter-exchange", Role::Safekeeping) => {
            error("parcels may leave the queue for another exchange")
        }
        ("max-length", Role::Intake) => (number < MAX_LENGTH_MIN).then(|| {
            let text = "bookings are refused with 503 as soon as so few parcels wait";
            (number < 1, format!("{text} (a parcel has up to {} bookings)", Parcel::MAX_BOOKINGS))
        }),
        ("max-length-bytes", Role::Intake) => {
            let parcel = i64::try_from(Parcel::MAX_BYTES).unwrap_or(i64::MAX);
            let text = "bookings are refused with 503 as soon as so few bytes wait";
            (number < parcel * MAX_LENGTH_MIN)
                .then(|| (number < parcel, format!("{text} (a parcel has up to {parcel})")))
        }
        ("max-length" | "max-length-bytes", Role::Safekeeping) => {
            let rejects = effective.definition.get("overflow").is_some_and(|it| it == "reject-publish");
            let text = if rejects {
                "parcels beyond it stay where they are, and block others"
            } else {
                "parcels beyond it are deleted without a trace"
            };
            Some((!rejects, text.to_owned()))
        }
        ("delivery-limit", Role::Intake) => (number < DELIVERY_LIMIT_MIN)
            .then(|| (false, "parcels become dead letters after so few restarts of workers".to_owned())),
        ("delivery-limit", Role::Safekeeping) => {
            error("a parcel that was delivered so often is deleted without a trace")
        }
        ("consumer-timeout", _) => {
            let timeout = Duration::from_millis(value.as_u64().unwrap_or_default());
            (timeout < CONSUMER_TIMEOUT_MIN).then(|| {
                (false, "RabbitMQ closes the channel of a worker that waits so long for Postgres".to_owned())
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::report::Verdict;

    fn verdict(role: Role, definition: Value) -> Verdict {
        let effective = Effective {
            queue: "q",
            role,
            names: vec!["shop"],
            definition: definition.as_object().unwrap(),
            dead_letter_exchange: "bookings.dead",
        };
        let findings = check(&effective);
        for finding in findings.iter().filter(|it| it.verdict != Verdict::Ok) {
            assert!(finding.remedy.contains("from the policy shop"), "{}", finding.remedy);
        }
        findings.into_iter().map(|it| it.verdict).max().unwrap()
    }

    #[test]
    fn every_policy_that_loses_bookings_is_an_error_and_a_harmless_one_is_none() {
        for (role, definition, expected) in [
            (Role::Intake, json!({}), Verdict::Ok),
            (Role::Intake, json!({"max-length": 100_000, "overflow": "reject-publish"}), Verdict::Ok),
            (Role::Intake, json!({"max-length": 100_000, "overflow": "drop-head"}), Verdict::Error),
            (Role::Intake, json!({"max-length": 100}), Verdict::Warning),
            (Role::Intake, json!({"max-length": 0}), Verdict::Error),
            (Role::Intake, json!({"max-length-bytes": 60_000}), Verdict::Error),
            (Role::Intake, json!({"max-length-bytes": 1_000_000}), Verdict::Warning),
            (Role::Intake, json!({"max-length-bytes": 500_000_000}), Verdict::Ok),
            (Role::Intake, json!({"message-ttl": 60_000}), Verdict::Error),
            (Role::Intake, json!({"expires": 60_000}), Verdict::Error),
            (Role::Intake, json!({"dead-letter-strategy": "at-most-once"}), Verdict::Error),
            (Role::Intake, json!({"dead-letter-strategy": "at-least-once"}), Verdict::Ok),
            (Role::Intake, json!({"dead-letter-exchange": "other"}), Verdict::Error),
            (Role::Intake, json!({"dead-letter-exchange": "bookings.dead"}), Verdict::Ok),
            (Role::Intake, json!({"delivery-limit": 3}), Verdict::Warning),
            (Role::Intake, json!({"delivery-limit": 50}), Verdict::Ok),
            (Role::Intake, json!({"consumer-timeout": 1_000}), Verdict::Warning),
            (Role::Intake, json!({"queue-leader-locator": "balanced"}), Verdict::Ok),
            (Role::Safekeeping, json!({"max-length": 10}), Verdict::Error),
            (Role::Safekeeping, json!({"max-length": 10, "overflow": "reject-publish"}), Verdict::Warning),
            (Role::Safekeeping, json!({"message-ttl": 1}), Verdict::Error),
            (Role::Safekeeping, json!({"delivery-limit": 20}), Verdict::Error),
            (Role::Safekeeping, json!({"ha-mode": "all"}), Verdict::Ok),
        ] {
            assert_eq!(verdict(role, definition.clone()), expected, "{role:?} {definition}");
        }
    }
}
