//! How far the auditor is, and what it has found. Stored after every few ranges, so that another worker can go on.

use std::collections::BTreeMap;
use std::time::Duration;

use hamro_shared::audit::{AuditReport, Counts, Finding, Kind, Position, Range};
use hamro_shared::domain::Timestamp;
use serde::{Deserialize, Serialize};

/// A range is tried this often before it is skipped.
const ATTEMPTS_MAX: u32 = 3;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The running pass; between passes, the last one.
    pass: Option<Pass>,
    /// When a pass that skipped nothing ended.
    completed_at: Option<Timestamp>,
    /// What the last pass has found.
    last_found: Counts,
    #[serde(skip)]
    is_paused: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pass {
    started_at: Timestamp,
    /// What to check next; `None` at the end.
    position: Option<Position>,
    /// How many rows the tables have, as the database's statistics estimate it.
    rows_expected: u64,
    rows_checked: u64,
    rows_skipped: u64,
    seats_checked: u64,
    found: Counts,
    /// How often the range at `position` could not be checked.
    attempts: u32,
}

impl Progress {
    /// What to check next; `None` between passes.
    pub fn position(&self) -> Option<Position> {
        self.pass.as_ref()?.position
    }

    /// How many rows a pass has to check, about.
    pub fn rows_expected(&self) -> u64 {
        self.pass.as_ref().map_or(0, |pass| pass.rows_expected)
    }

    /// Whether a pass should start, if each takes `every`.
    pub fn is_due(&self, now: Timestamp, every: Duration) -> bool {
        self.pass.as_ref().is_none_or(|pass| pass.position.is_none() && now >= pass.started_at + every)
    }

    pub fn start(&mut self, now: Timestamp, rows_expected: u64) {
        self.pass = Some(Pass {
            started_at: now,
            position: Some(Position::START),
            rows_expected,
            rows_checked: 0,
            rows_skipped: 0,
            seats_checked: 0,
            found: Counts::new(),
            attempts: 0,
        });
    }

    /// Records what was found in the range at the current position, and moves on.
    pub fn checked(&mut self, range: &Range, findings: &[Finding], now: Timestamp) {
        let Some(pass) = &mut self.pass else { return };
        pass.rows_checked += range.rows;
        pass.seats_checked += range.seats();
        for finding in findings {
            *pass.found.entry(finding.kind).or_default() += 1;
        }
        self.move_on(range, now);
    }

    /// Records that the range could not be checked. After some attempts, moves on without it. Returns whether it did.
    pub fn failed(&mut self, range: &Range, now: Timestamp) -> bool {
        let Some(pass) = &mut self.pass else { return false };
        pass.attempts += 1;
        if pass.attempts < ATTEMPTS_MAX {
            return false;
        }
        pass.rows_skipped += range.rows.max(1);
        self.move_on(range, now);
        true
    }

    fn move_on(&mut self, range: &Range, now: Timestamp) {
        let Some(pass) = &mut self.pass else { return };
        pass.attempts = 0;
        pass.position = range.next();
        if pass.position.is_some() {
            return;
        }
        if pass.rows_skipped == 0 {
            self.completed_at = Some(now);
            self.last_found = pass.found.clone();
        } else {
            // What an earlier pass has found may be in a range that was skipped.
            self.last_found = larger(&self.last_found, &pass.found);
        }
    }

    /// Sets whether the auditor is paused. Returns whether that is a change.
    pub fn set_paused(&mut self, is_paused: bool) -> bool {
        std::mem::replace(&mut self.is_paused, is_paused) != is_paused
    }

    pub fn report(&self) -> AuditReport {
        let nothing = Counts::new();
        let found = larger(&self.last_found, self.pass.as_ref().map_or(&nothing, |pass| &pass.found));
        let count = |kind: Kind| found.get(&kind).copied().unwrap_or_default();
        let mismatches: BTreeMap<String, u64> =
            Kind::MISMATCHES.iter().map(|kind| (kind.as_str().to_owned(), count(*kind))).collect();
        AuditReport {
            completed_at: self.completed_at,
            seats_checked: self.pass.as_ref().map_or(0, |pass| pass.seats_checked),
            coverage: self.pass.as_ref().map_or(0.0, Pass::coverage),
            double_sold_seats: count(Kind::DoubleSoldSeat),
            mismatches,
            is_paused: self.is_paused,
        }
    }
}

impl Pass {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn coverage(&self) -> f64 {
        let seen = self.rows_checked + self.rows_skipped;
        let rows = match self.position {
            // The statistics may be old, and a pass that runs has not checked everything.
            Some(_) => self.rows_expected.max(seen + 1),
            None => seen.max(1),
        };
        let checked = if self.position.is_none() && seen == 0 { 1 } else { self.rows_checked };
        checked as f64 / rows as f64
    }
}

/// The larger number of each kind.
fn larger(one: &Counts, other: &Counts) -> Counts {
    let mut larger = one.clone();
    for (kind, count) in other {
        let entry = larger.entry(*kind).or_default();
        *entry = (*entry).max(*count);
    }
    larger
}
