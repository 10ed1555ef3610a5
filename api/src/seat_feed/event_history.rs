//! The recent events of a seat map, from which a client that reconnects gets what it has missed.

use std::collections::{HashMap, VecDeque};

use hamro_shared::domain::SeatId;

/// How many events are kept. A client that has missed more gets a snapshot.
pub const HISTORY_LENGTH: usize = 256;

/// The seats that have changed, each with whether it is booked now.
pub type SeatChanges = HashMap<SeatId, bool>;

pub struct EventHistory {
    /// Distinguishes these events from those of other instances and of earlier states of the seat map.
    epoch: u64,
    /// The number of the latest event. Together with the epoch it is the event's id.
    sequence: u64,
    /// The changes of the latest events, up to `sequence`.
    changes: VecDeque<SeatChanges>,
}

impl EventHistory {
    pub fn new(epoch: u64) -> Self {
        Self { epoch, sequence: 0, changes: VecDeque::new() }
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn last_event_id(&self) -> String {
        format!("{:x}-{}", self.epoch, self.sequence)
    }

    /// Records an event.
    pub fn push(&mut self, changes: SeatChanges) {
        self.sequence += 1;
        self.changes.push_back(changes);
        if self.changes.len() > HISTORY_LENGTH {
            self.changes.pop_front();
        }
    }

    /// Records an event that is a snapshot. What has changed since earlier events is no longer known.
    pub fn push_snapshot(&mut self) {
        self.sequence += 1;
        self.changes.clear();
    }

    /// What has changed since the event with this id; `None` if the id is unknown or too old.
    pub fn changes_since(&self, id: &str) -> Option<SeatChanges> {
        let (epoch, sequence) = id.split_once('-')?;
        if epoch != format!("{:x}", self.epoch) {
            return None;
        }
        let missed = usize::try_from(self.sequence.checked_sub(sequence.parse().ok()?)?).ok()?;
        let first_missed = self.changes.len().checked_sub(missed)?;
        let mut changes = SeatChanges::new();
        for later in self.changes.iter().skip(first_missed) {
            changes.extend(later);
        }
        Some(changes)
    }
}
