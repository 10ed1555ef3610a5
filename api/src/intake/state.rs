//! What an instance knows about the controls and about the demand, and what it does with a booking.

use hamro_shared::queue::Published;
use tokio::time::Instant;
use uuid::Uuid;

use super::NotAdmitted;
use super::controlled_concerts::{BookedConcerts, ControlledConcerts};
use super::controls::Controls;
use super::mode::Mode;
use super::shared_limit::SharedLimit;
use super::stored::{Change, StoredControls};

#[derive(Default)]
pub struct State {
    pub known: Option<Known>,
    /// That of all bookings.
    pub limit: SharedLimit,
    pub concerts: ControlledConcerts,
}

/// What is known about the controls, and since when.
#[derive(Clone)]
pub struct Known {
    pub controls: Controls,
    /// Unknown if they were learned from another instance.
    pub change: Option<Change>,
    learned_at: Instant,
    pub read_at: Option<Instant>,
}

impl State {
    pub fn revision(&self) -> Option<i64> {
        self.known.as_ref().map(|known| known.controls.intake.revision)
    }

    /// Learns what was read from Postgres, unless it is outdated. The reading began at `began_at`.
    ///
    /// A reading that began after the known controls were learned replaces them even if its revision is smaller: the
    /// database was restored from a backup.
    pub fn learn_stored(&mut self, stored: StoredControls, began_at: Instant, now: Instant) {
        let StoredControls { controls, change } = stored;
        let learned_at = match &self.known {
            Some(known) if known.controls == controls => known.learned_at,
            Some(known)
                if controls.intake.revision < known.controls.intake.revision
                    && began_at < known.learned_at =>
            {
                return;
            }
            _ => now,
        };
        self.known = Some(Known { controls, change, learned_at, read_at: Some(began_at) });
    }

    /// Learns the controls and the demand of another instance.
    pub fn learn_from(&mut self, instance: Uuid, published: &Published, now: Instant) {
        self.limit.demand.record_other(instance, published.requested, now);
        self.concerts.record_other(instance, published, now);
        let Some(intake) = published.controls else { return };
        if self.revision().is_some_and(|revision| revision >= intake.revision) {
            return;
        }
        // An instance of an earlier version does not know the controls of concerts, and changes none.
        let concerts = published.concert_controls.clone();
        let kept = || self.known.as_ref().map(|known| known.controls.concerts.clone());
        let controls = Controls::new(intake, concerts.or_else(kept).unwrap_or_default());
        self.known = Some(Known { controls, change: None, learned_at: now, read_at: None });
    }

    /// Puts the known controls into effect. Returns whether they are of other concerts than before.
    pub fn obey(&mut self, now: Instant) -> bool {
        let Some(Known { controls, .. }) = &self.known else { return false };
        self.limit.set(controls.intake.accept_per_second, now);
        self.concerts.obey(&controls.concerts, &self.limit, now)
    }

    /// What the controls mean for a booking of any concert. An instance that has just started, and knows from another one that
    /// concerts have controls, does not know their seats: it could not tell which bookings are refused.
    pub fn mode(&self) -> Mode {
        let Some(Known { controls, .. }) = &self.known else { return Mode::NotKnown };
        match Mode::of(controls.intake) {
            Mode::Paused => Mode::Paused,
            _ if !controls.concerts.is_empty() && !self.concerts.knows_seats() => Mode::NotKnown,
            mode => mode,
        }
    }

    /// Admits a booking within all limits, or uses up no part of any.
    pub fn admit(&mut self, booked: &BookedConcerts, now: Instant) -> Result<(), NotAdmitted> {
        self.concerts.check_paused(booked)?;
        self.limit.check(now).map_err(|backlog| NotAdmitted::Limited { backlog })?;
        self.concerts.check_limits(booked, now)?;
        self.limit.take(now);
        self.concerts.take(booked, now);
        Ok(())
    }
}
