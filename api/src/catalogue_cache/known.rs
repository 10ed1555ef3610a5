//! What the checks of the versions have found.

use std::time::Duration;

use super::key::Part;
use super::versions::Versions;
use crate::boot_clock::BootInstant;
use crate::http::problem::Problem;

/// The shortest time between the begin of two checks.
pub const CHECK_EVERY: Duration = Duration::from_millis(250);

/// With very many concerts a check takes long. Then they are rarer: so many times its duration.
const PAUSE_PER_CHECK: u32 = 20;

/// But never rarer than this, so that a check ends before the last one is too old.
const CHECK_EVERY_AT_LEAST: Duration = Duration::from_millis(600);

/// The number of checks after which another one is not made early because of a sale, if all began within a second: after a
/// sale that was announced to this instance, its next read shows it, except in a rush.
const EARLY_CHECKS: usize = 4;

/// What the checks have found.
#[derive(Debug, Default)]
pub struct Known {
    pub parts: [PartState; Part::ALL.len()],
    /// The duration of the last successful check.
    duration: Duration,
    /// When the last checks began, the latest first.
    began: [BootInstant; EARLY_CHECKS],
    /// The last check, if it failed.
    pub failed: Option<Failed>,
}

#[derive(Debug)]
pub struct Failed {
    pub at: BootInstant,
    pub problem: Problem,
}

#[derive(Clone, Debug, Default)]
pub struct PartState {
    version: String,
    /// Counts the versions, from 1.
    pub number: u64,
    /// When the last successful check began.
    pub checked_at: BootInstant,
    /// How many writes of this instance had ended before it, and how many announcements of sales had arrived.
    pub own_writes: u64,
    pub sales: u64,
    /// When the version before was last found.
    previous_checked_at: BootInstant,
}

/// Which version of a part is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentVersion {
    pub number: u64,
    pub own_writes: u64,
    pub checked_at: BootInstant,
    previous_checked_at: BootInstant,
    /// Whether Postgres does not answer: then this is only the last version that was known.
    pub is_away: bool,
}

impl CurrentVersion {
    /// When the version with this number was last known to be current. `verified_at` is when it was at least.
    pub fn known_current(&self, number: u64, verified_at: BootInstant) -> BootInstant {
        match number {
            _ if number == self.number => self.checked_at.max(verified_at),
            _ if number + 1 == self.number => self.previous_checked_at.max(verified_at),
            _ => verified_at,
        }
    }
}

/// What a check began with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    pub at: BootInstant,
    pub own_writes: u64,
    pub sales: u64,
}

impl Known {
    /// The time from the begin of the last check until the next one.
    pub fn pause(&self) -> Duration {
        (self.duration * PAUSE_PER_CHECK).clamp(CHECK_EVERY, CHECK_EVERY_AT_LEAST)
    }

    pub fn on_begin(&mut self, at: BootInstant) {
        self.began.rotate_right(1);
        self.began[0] = at;
    }

    /// Whether few checks began within the last second.
    pub fn may_check_early(&self, now: BootInstant) -> bool {
        self.began.last().is_none_or(|began| now.since(*began) >= Duration::from_secs(1))
    }

    pub fn current_version(&self, part: Part, is_away: bool) -> CurrentVersion {
        let PartState { number, checked_at, own_writes, previous_checked_at, .. } = self.parts[part.index()];
        CurrentVersion { number, own_writes, checked_at, previous_checked_at, is_away }
    }

    /// Takes over what a check has found. Returns whether the one before had failed.
    pub fn on_success(&mut self, versions: &Versions, before: &Before, now: BootInstant) -> bool {
        self.duration = now.since(before.at);
        for part in Part::ALL {
            let Some(version) = versions.of(part) else { continue };
            let state = &mut self.parts[part.index()];
            if state.number == 0 || state.version != version {
                version.clone_into(&mut state.version);
                state.number += 1;
                state.previous_checked_at = state.checked_at;
            }
            (state.checked_at, state.own_writes, state.sales) = (before.at, before.own_writes, before.sales);
        }
        self.failed.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::ProblemCode;

    fn at(millis: u64) -> BootInstant {
        BootInstant::at(Duration::from_millis(millis))
    }

    fn began(at: BootInstant) -> Before {
        Before { at, ..Before::default() }
    }

    #[test]
    fn a_sale_makes_few_checks_early() {
        let mut known = Known::default();
        for check in 0..EARLY_CHECKS as u64 {
            assert!(known.may_check_early(at(10_000 + check)));
            known.on_begin(at(10_000 + check));
        }
        assert!(!known.may_check_early(at(10_999)));
        assert!(known.may_check_early(at(11_000)));
    }

    #[test]
    fn a_version_is_known_to_be_current_until_the_last_check_that_found_it() {
        let mut known = Known::default();
        known.on_success(&Versions::all("a"), &began(at(1_000)), at(1_001));
        known.on_success(&Versions::all("a"), &began(at(1_250)), at(1_251));
        let first = known.current_version(Part::Tiers, false);
        assert_eq!((first.number, first.known_current(1, at(1_000))), (1, at(1_250)));
        known.on_success(&Versions::all("b"), &began(at(1_500)), at(1_501));
        let second = known.current_version(Part::Tiers, false);
        assert_eq!((second.number, second.checked_at), (2, at(1_500)));
        assert_eq!(second.known_current(1, at(1_000)), at(1_250));
        known.on_success(&Versions::all("a"), &began(at(1_750)), at(1_751));
        let third = known.current_version(Part::Tiers, false);
        assert_eq!(third.number, 3, "an earlier content under a new number");
        assert_eq!(third.known_current(1, at(1_000)), at(1_000));
    }

    #[test]
    fn a_check_of_other_parts_proves_nothing_about_this_one() {
        let mut known = Known::default();
        known.on_success(&Versions::default(), &began(at(1_000)), at(1_001));
        assert_eq!(known.current_version(Part::Concerts, false).number, 0);
    }

    #[test]
    fn checks_that_take_long_are_rarer_but_end_before_the_last_one_is_a_second_old() {
        let mut known = Known::default();
        for (duration, pause) in [(1, 250), (12, 250), (20, 400), (100, 600), (2_000, 600)] {
            known.on_success(&Versions::all("a"), &began(at(0)), at(duration));
            assert_eq!(known.pause(), Duration::from_millis(pause), "{duration}");
        }
    }

    #[test]
    fn a_success_ends_an_outage() {
        let mut known = Known {
            failed: Some(Failed { at: at(1), problem: Problem::of(ProblemCode::DatabaseUnavailable) }),
            ..Known::default()
        };
        assert!(known.on_success(&Versions::all("a"), &began(at(2)), at(3)));
        assert!(!known.on_success(&Versions::all("a"), &began(at(4)), at(5)));
    }
}
