//! Fault injection for tests: places where a process can be killed, and safeguards that can be disabled.
//!
//! `HAMRO_FAULTS=worker.after-commit=kill@3,worker.no-look-up=break` kills a worker the third time it reaches the point
//! between COMMIT and acknowledgement, and disables its look-up of prior outcomes. `worker.receiving=panic@3` makes the
//! prefetch task panic and leaves the process running. `clock=+11s` sets the process's clock ahead.
//!
//! Only builds with the feature `faults` read the variable; the tests use such builds. In all others [`fault_point!`]
//! expands to a constant condition that the compiler removes, and the code that disables a safeguard is not compiled at
//! all.
//!
//! [`fault_point!`]: crate::fault_point

use std::process;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::config::{Env, Setting};
use crate::domain::Clock;
use crate::telemetry::write_to_stderr;

const IS_BUILT_IN: bool = cfg!(feature = "faults");

static FAULTS: OnceLock<Faults> = OnceLock::new();

/// A place in the code where a fault can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPoint {
    BeforeBegin,
    /// Inside the transaction, after all writes.
    BeforeCommit,
    /// Before the acknowledgement.
    AfterCommit,
    /// A booking is republished; the parcel it came in is not acknowledged.
    AfterRequeue,
    /// The broker has confirmed the booking; the client has no response.
    AfterConfirm,
    /// A parcel is received and not decoded.
    Receiving,
    /// The first transaction of a release is committed: its seats are neither sold nor free.
    AfterRelease,
}

/// What happens at a fault point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The process ends at once, as by `kill -9`.
    KillProcess,
    PanicTask,
}

/// A rule that a test can disable to check that the checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// A parcel is acknowledged only after its transaction is committed.
    CommitBeforeAck,
    /// Prior outcomes are looked up, and stand.
    PriorOutcomes,
    /// Seats are locked in the order of their ids.
    SeatLockOrder,
    /// A booking is not sold past its deadline.
    Deadline,
    /// Only the broker's `Ack` confirms a booking.
    Confirms,
    /// What is known about sold seats counts only while no seat is freed.
    FreedVersions,
    /// Only a committed sale marks a seat as sold.
    CommittedSales,
    /// A booking is not rejected early because of a sale under its own key.
    SaleKeys,
}

const POINTS: [(&str, FaultPoint); 7] = [
    ("worker.before-begin", FaultPoint::BeforeBegin),
    ("worker.before-commit", FaultPoint::BeforeCommit),
    ("worker.after-commit", FaultPoint::AfterCommit),
    ("worker.after-requeue", FaultPoint::AfterRequeue),
    ("api.after-confirm", FaultPoint::AfterConfirm),
    ("worker.receiving", FaultPoint::Receiving),
    ("api.after-release", FaultPoint::AfterRelease),
];

const SAFEGUARDS: [(&str, Safeguard); 8] = [
    ("worker.early-ack", Safeguard::CommitBeforeAck),
    ("worker.no-look-up", Safeguard::PriorOutcomes),
    ("worker.unordered-locks", Safeguard::SeatLockOrder),
    ("worker.no-deadline", Safeguard::Deadline),
    ("api.nack-is-ack", Safeguard::Confirms),
    ("api.ignore-freed-versions", Safeguard::FreedVersions),
    ("api.accepted-is-sold", Safeguard::CommittedSales),
    ("api.ignore-sale-keys", Safeguard::SaleKeys),
];

/// The parsed value of `HAMRO_FAULTS`.
#[derive(Debug, Default)]
struct Faults {
    /// Each with the number of passes left until it happens.
    injected: Vec<(FaultPoint, Fault, AtomicU32)>,
    disabled: Vec<Safeguard>,
    clock_offset_millis: i64,
}

impl Setting for Faults {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Reads `HAMRO_FAULTS`. Call it once, at start.
pub fn init_from_env(env: &mut Env) {
    if !IS_BUILT_IN {
        return;
    }
    let variable = env.variable("HAMRO_FAULTS", "Faults to inject, for tests.", expected());
    if let Some(Some(faults)) = variable.optional::<Faults>() {
        // Logging has not started yet.
        write_to_stderr(format!("injecting faults: {faults:?}\n"));
        Clock::offset_system_clock(faults.clock_offset_millis);
        let _ = FAULTS.set(faults);
    }
}

/// A place where `HAMRO_FAULTS` can kill the process or make the task panic: `fault_point!(AfterCommit)`.
#[macro_export]
macro_rules! fault_point {
    ($point:ident) => {
        $crate::faults::reach($crate::faults::FaultPoint::$point)
    };
}

/// For [`fault_point!`](crate::fault_point).
#[inline]
pub fn reach(point: FaultPoint) {
    if IS_BUILT_IN {
        match FAULTS.get().and_then(|faults| faults.fault_at(point)) {
            Some(Fault::KillProcess) => process::abort(),
            Some(Fault::PanicTask) => panic!("injected by HAMRO_FAULTS"),
            None => {}
        }
    }
}

/// Whether a test has disabled this safeguard.
#[cfg(feature = "faults")]
pub fn is_disabled(safeguard: Safeguard) -> bool {
    FAULTS.get().is_some_and(|faults| faults.disabled.contains(&safeguard))
}

impl Faults {
    fn fault_at(&self, point: FaultPoint) -> Option<Fault> {
        let (_, fault, passes_left) = self.injected.iter().find(|(at, _, _)| *at == point)?;
        (passes_left.fetch_sub(1, Ordering::Relaxed) == 1).then_some(*fault)
    }
}

impl FromStr for Faults {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut faults = Self::default();
        for switch in text.split(',') {
            let (name, value) = switch.trim().split_once('=').ok_or(())?;
            if name == "clock" {
                faults.clock_offset_millis = signed_millis(value).ok_or(())?;
                continue;
            }
            let point = POINTS.iter().find(|(known, _)| *known == name);
            let safeguard = SAFEGUARDS.iter().find(|(known, _)| *known == name);
            match (point, safeguard, value.split_once('@')) {
                (Some(&(_, point)), _, Some((fault @ ("kill" | "panic"), pass))) => {
                    let pass = pass.parse().ok().filter(|pass| *pass > 0).ok_or(())?;
                    let fault = if fault == "kill" { Fault::KillProcess } else { Fault::PanicTask };
                    faults.injected.push((point, fault, AtomicU32::new(pass)));
                }
                (_, Some(&(_, safeguard)), None) if value == "break" => faults.disabled.push(safeguard),
                _ => return Err(()),
            }
        }
        Ok(faults)
    }
}

/// Parses `+11s` or `-16m`.
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
    let safeguards = SAFEGUARDS.map(|(name, _)| name).join(", ");
    format!(
        "POINT=kill@PASS, POINT=panic@PASS, SAFEGUARD=break or clock=OFFSET, separated by commas, with a POINT of {points}, a \
         SAFEGUARD of {safeguards} and an OFFSET such as +11s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_injected_at_the_requested_pass_only() {
        let faults: Faults =
            "worker.after-commit=kill@3, worker.no-look-up=break, worker.receiving=panic@1".parse().unwrap();
        assert_eq!(faults.fault_at(FaultPoint::BeforeBegin), None);
        let injected = [(); 4].map(|()| faults.fault_at(FaultPoint::AfterCommit));
        assert_eq!(injected, [None, None, Some(Fault::KillProcess), None]);
        assert_eq!(faults.fault_at(FaultPoint::Receiving), Some(Fault::PanicTask));
        assert_eq!(faults.disabled, [Safeguard::PriorOutcomes]);
        assert_eq!("clock=-16m".parse::<Faults>().unwrap().clock_offset_millis, -960_000);
    }

    #[test]
    fn an_unknown_or_malformed_switch_is_rejected() {
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
