//! Switches for tests: places where a process can be made to die, and rules that it can be made to break.
//!
//! `HAMRO_FAULTS=worker.after-commit=kill@3,worker.no-look-up=break` kills a worker the third time that it gets between
//! COMMIT and acknowledgement, and makes it forget what it has settled before; `worker.receiving=panic@3` makes the task that
//! receives panic, and leaves the process alive; `clock=+11s` sets its clock ahead. Only programs that are built with the feature
//! `faults` know of that variable, which is how the tests build them. In all others each call here is a constant, and the
//! compiler leaves out what hangs on it.

use std::process;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::config::{Env, Setting};
use crate::telemetry::write_to_stderr;

const IS_BUILT_IN: bool = cfg!(feature = "faults");

static FAULTS: OnceLock<Faults> = OnceLock::new();

/// A place where a process can be made to die: at once, as by `kill -9`; or one of its tasks can be made to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    BeforeBegin,
    /// Inside the transaction, when everything is written.
    BeforeCommit,
    /// Before anything is acknowledged.
    AfterCommit,
    /// A booking is published again, and the parcel that it came in is not acknowledged yet.
    AfterRequeue,
    /// The broker has the booking, and the client no answer.
    AfterConfirm,
    /// A parcel has come, and is not decoded yet.
    Receiving,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    OfTheProcess,
    OfTheTask,
}

/// A rule that a process can be made to break, to see whether anybody notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Only what is committed is acknowledged.
    CommitThenAck,
    /// What was settled before is looked up, and stands.
    LookUp,
    /// Seats are locked in the order of their ids.
    LockInOrder,
    /// What is past its deadline is not sold.
    Deadline,
    /// The broker's `Ack`, and nothing looser, is a receipt.
    AckIsReceipt,
}

const POINTS: [(&str, Point); 6] = [
    ("worker.before-begin", Point::BeforeBegin),
    ("worker.before-commit", Point::BeforeCommit),
    ("worker.after-commit", Point::AfterCommit),
    ("worker.after-requeue", Point::AfterRequeue),
    ("api.after-confirm", Point::AfterConfirm),
    ("worker.receiving", Point::Receiving),
];

const RULES: [(&str, Rule); 5] = [
    ("worker.early-ack", Rule::CommitThenAck),
    ("worker.no-look-up", Rule::LookUp),
    ("worker.unordered-locks", Rule::LockInOrder),
    ("worker.no-deadline", Rule::Deadline),
    ("api.nack-is-ack", Rule::AckIsReceipt),
];

/// What `HAMRO_FAULTS` asks for.
#[derive(Debug, Default)]
struct Faults {
    /// With how many passes are left until the end.
    deaths: Vec<(Point, Death, AtomicU32)>,
    broken: Vec<Rule>,
    /// By how many milliseconds the machine's clock is wrong.
    clock_offset: i64,
}

/// Reads `HAMRO_FAULTS`, which holds from here on.
pub fn arm(env: &mut Env) {
    if IS_BUILT_IN && let Some(Some(faults)) = env.optional("HAMRO_FAULTS", &expected(), str::parse::<Faults>)
    {
        // Logging has not started yet.
        write_to_stderr(format!("faults for a test: {faults:?}\n"));
        let _ = FAULTS.set(faults);
    }
}

/// The process gets to this point, and not beyond it if that is how it should die.
#[inline]
pub fn pass(point: Point) {
    if IS_BUILT_IN {
        match FAULTS.get().and_then(|faults| faults.death_at(point)) {
            Some(Death::OfTheProcess) => process::abort(),
            Some(Death::OfTheTask) => panic!("as HAMRO_FAULTS has it"),
            None => {}
        }
    }
}

/// Whether this rule is to be broken.
#[inline]
pub fn is_broken(rule: Rule) -> bool {
    IS_BUILT_IN && FAULTS.get().is_some_and(|faults| faults.broken.contains(&rule))
}

/// By how many milliseconds the machine's clock is to be wrong.
#[inline]
pub fn clock_offset() -> i64 {
    if IS_BUILT_IN { FAULTS.get().map_or(0, |faults| faults.clock_offset) } else { 0 }
}

impl Faults {
    fn death_at(&self, point: Point) -> Option<Death> {
        let (_, death, passes_left) = self.deaths.iter().find(|(at, _, _)| *at == point)?;
        (passes_left.fetch_sub(1, Ordering::Relaxed) == 1).then_some(*death)
    }
}

impl FromStr for Faults {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut faults = Self::default();
        for switch in text.split(',') {
            let (name, fault) = switch.trim().split_once('=').ok_or(())?;
            if name == "clock" {
                faults.clock_offset = signed_millis(fault).ok_or(())?;
                continue;
            }
            let point = POINTS.iter().find(|(known, _)| *known == name);
            let rule = RULES.iter().find(|(known, _)| *known == name);
            match (point, rule, fault.split_once('@')) {
                (Some(&(_, point)), _, Some((death @ ("kill" | "panic"), pass))) => {
                    let pass = pass.parse().ok().filter(|pass| *pass > 0).ok_or(())?;
                    let death = if death == "kill" { Death::OfTheProcess } else { Death::OfTheTask };
                    faults.deaths.push((point, death, AtomicU32::new(pass)));
                }
                (_, Some(&(_, rule)), None) if fault == "break" => faults.broken.push(rule),
                _ => return Err(()),
            }
        }
        Ok(faults)
    }
}

/// `+11s`, `-16m`.
fn signed_millis(text: &str) -> Option<i64> {
    let (sign, duration) = match text.split_at_checked(1)? {
        ("+", duration) => (1, duration),
        ("-", duration) => (-1, duration),
        _ => return None,
    };
    Some(sign * i64::try_from(Duration::parse(duration)?.as_millis()).ok()?)
}

fn expected() -> String {
    let points = POINTS.map(|(name, _)| name).join(", ");
    let rules = RULES.map(|(name, _)| name).join(", ");
    format!(
        "POINT=kill@PASS, POINT=panic@PASS, RULE=break or clock=OFFSET, separated by commas, with a POINT of {points}, a RULE \
         of {rules} and an OFFSET such as +11s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_dies_at_the_pass_that_was_asked_for() {
        let faults: Faults =
            "worker.after-commit=kill@3, worker.no-look-up=break, worker.receiving=panic@1".parse().unwrap();
        assert_eq!(faults.death_at(Point::BeforeBegin), None);
        let deaths = [(); 4].map(|()| faults.death_at(Point::AfterCommit));
        assert_eq!(deaths, [None, None, Some(Death::OfTheProcess), None]);
        assert_eq!(faults.death_at(Point::Receiving), Some(Death::OfTheTask));
        assert_eq!(faults.broken, [Rule::LookUp]);
        assert_eq!("clock=-16m".parse::<Faults>().unwrap().clock_offset, -960_000);
    }

    #[test]
    fn a_switch_that_nobody_knows_is_refused() {
        for bad in [
            "",
            "worker.after-commit",
            "worker.after-commit=break",
            "worker.after-commit=kill",
            "worker.after-commit=kill@0",
            "worker.receiving=panic@0",
            "worker.no-look-up=kill@1",
            "worker.no-look-up=break@1",
            "worker.nowhere=kill@1",
            "worker.no-look-up=break,",
            "clock=11s",
            "clock=+soon",
        ] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
        assert!(expected().contains("worker.before-commit"));
    }
}
