//! What the controls mean for a booking, in one byte: the usual case takes no lock.

use std::sync::atomic::{AtomicU8, Ordering};

use hamro_shared::queue::IntakeControls;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    NotKnown,
    Open,
    Paused,
    Limited,
}

impl Mode {
    pub fn of(controls: IntakeControls) -> Self {
        match (controls.intake_paused, controls.accept_per_second) {
            (true, _) => Self::Paused,
            (false, Some(_)) => Self::Limited,
            (false, None) => Self::Open,
        }
    }

    pub fn load(mode: &AtomicU8) -> Self {
        match mode.load(Ordering::Relaxed) {
            1 => Self::Open,
            2 => Self::Paused,
            3 => Self::Limited,
            _ => Self::NotKnown,
        }
    }

    pub fn store(self, mode: &AtomicU8) {
        mode.store(self as u8, Ordering::Relaxed);
    }
}
