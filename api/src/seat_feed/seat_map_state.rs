//! The seats of one concert as clients see them: which are booked, and what has changed since which event.

use std::sync::Arc;

use hamro_shared::domain::SeatId;
use serde::Serialize;
use tokio::sync::broadcast;

use super::booked_seats::BookedSeats;
use super::event_history::{EventHistory, SeatChanges};
use super::events::{CatalogueVersion, SeatsChange, SeatsEvent, SeatsSnapshot};
use super::layout_version::LayoutVersion;

/// How many events a slow client may be behind. A client that is further behind gets a snapshot.
const CHANNEL_CAPACITY: usize = 64;

/// The version of a concert that does not exist any more.
const DELETED: &str = "deleted";

/// The current state of a seat map, its recent changes, and the channel on which they are broadcast.
pub struct SeatMapState {
    booked: BookedSeats,
    layout_version: LayoutVersion,
    /// Increases with every change, also before it is broadcast.
    revision: u64,
    /// Changes that have not been broadcast; `None` if seats were added, removed or renamed.
    pending: Option<SeatChanges>,
    history: EventHistory,
    /// Sales and releases announced since the reload began, which it may or may not contain, each seat with whether it is
    /// booked; `None` if no reload is running.
    announced_during_reload: Option<Vec<(SeatId, bool)>>,
    /// A snapshot, with the number of the event that it corresponds to.
    snapshot: Option<(u64, Arc<SeatsEvent>)>,
    /// The version of the concert; `None` if it is not known yet.
    catalogue_version: Option<String>,
    /// `None` once the seat map is closed.
    events: Option<broadcast::Sender<Arc<SeatsEvent>>>,
}

/// What one client receives.
pub struct Subscription {
    /// The event to send first, if any.
    pub first: Option<Arc<SeatsEvent>>,
    /// The event with the version of the concert, to send after it. If it is not known yet, it follows once it is.
    pub catalogue: Option<Arc<SeatsEvent>>,
    pub events: broadcast::Receiver<Arc<SeatsEvent>>,
}

impl SeatMapState {
    /// A seat map without seats, to be filled by `begin_reload` and `apply_reload`. `epoch` distinguishes its events from
    /// those of others.
    pub fn new(epoch: u64) -> Self {
        Self {
            booked: BookedSeats::default(),
            layout_version: LayoutVersion::default(),
            revision: 0,
            pending: Some(SeatChanges::new()),
            history: EventHistory::new(epoch),
            announced_during_reload: None,
            snapshot: None,
            catalogue_version: None,
            events: Some(broadcast::Sender::new(CHANNEL_CAPACITY)),
        }
    }

    pub fn available(&self) -> usize {
        self.booked.available()
    }

    pub fn booked(&self) -> &BookedSeats {
        &self.booked
    }

    pub fn layout_version(&self) -> LayoutVersion {
        self.layout_version
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The id of the latest event. The events after it contain all changes that this state does not have yet.
    pub fn last_event_id(&self) -> String {
        self.history.last_event_id()
    }

    /// Applies an announced sale. Seats of other concerts are ignored.
    pub fn mark_sold(&mut self, seats: &[SeatId]) {
        self.announce(seats, true);
    }

    /// Applies an announced release.
    pub fn mark_freed(&mut self, seats: &[SeatId]) {
        self.announce(seats, false);
    }

    fn announce(&mut self, seats: &[SeatId], is_booked: bool) {
        if let Some(announced) = &mut self.announced_during_reload {
            announced.extend(seats.iter().map(|seat| (*seat, is_booked)));
        }
        for seat in seats {
            self.set(*seat, is_booked);
        }
    }

    /// Call this before the seats are read from the database, and then `apply_reload` or `abort_reload`.
    pub fn begin_reload(&mut self) {
        self.announced_during_reload = Some(Vec::new());
    }

    /// Ends a reload that failed; the state stays as it is.
    pub fn abort_reload(&mut self) {
        self.announced_during_reload = None;
    }

    /// Ends the streams of all subscribers: the concert was deleted. They learn that first.
    pub fn close(&mut self) {
        self.set_catalogue_version(DELETED.to_owned());
        self.events = None;
    }

    pub fn has_catalogue_version(&self) -> bool {
        self.catalogue_version.is_some()
    }

    /// Tells all subscribers the version of the concert, if it has changed.
    pub fn set_catalogue_version(&mut self, version: String) {
        if self.catalogue_version.as_ref() != Some(&version) {
            let event = self.catalogue_event(&version);
            self.send(event);
            self.catalogue_version = Some(version);
        }
    }

    fn catalogue_event(&self, version: &str) -> Arc<SeatsEvent> {
        Arc::new(self.event("catalogue", &CatalogueVersion { version: version.to_owned() }))
    }

    /// Applies what was read from the database: all seats, and whether each is booked. What was announced meanwhile stays.
    pub fn apply_reload(&mut self, mut booked: BookedSeats, layout_version: LayoutVersion) {
        for (seat, is_booked) in self.announced_during_reload.take().unwrap_or_default() {
            booked.set(seat, is_booked);
        }
        if self.layout_version == layout_version && self.booked.has_same_seats(&booked) {
            for (seat, is_booked) in booked.iter() {
                self.set(seat, is_booked);
            }
        } else {
            self.booked = booked;
            self.layout_version = layout_version;
            self.revision += 1;
            self.pending = None;
        }
    }

    fn set(&mut self, seat: SeatId, is_booked: bool) {
        if self.booked.set(seat, is_booked) {
            self.revision += 1;
            if let Some(pending) = &mut self.pending {
                pending.insert(seat, is_booked);
            }
        }
    }

    /// Sends all subscribers what has changed since the previous call.
    pub fn broadcast_changes(&mut self) {
        match self.pending.replace(SeatChanges::new()) {
            Some(changes) if changes.is_empty() => {}
            Some(changes) => {
                self.history.push(changes.clone());
                self.send(Arc::new(self.change_event(changes)));
            }
            None => {
                self.history.push_snapshot();
                let event = self.snapshot();
                self.send(event);
            }
        }
    }

    fn send(&self, event: Arc<SeatsEvent>) {
        if let Some(events) = &self.events {
            // Fails if there are no subscribers.
            let _ = events.send(event);
        }
    }

    /// Adds a subscriber, which may have received events before. `None` if the seat map is closed.
    ///
    /// The first event may contain changes that have not been broadcast yet. The next event then repeats them.
    pub fn subscribe(&mut self, last_event_id: Option<&str>) -> Option<Subscription> {
        let events = self.events.as_ref()?.subscribe();
        let first = match last_event_id.and_then(|id| self.history.changes_since(id)) {
            Some(missed) if missed.is_empty() => None,
            Some(missed) => Some(Arc::new(self.change_event(missed))),
            None => Some(self.snapshot()),
        };
        let catalogue = self.catalogue_version.as_ref().map(|version| self.catalogue_event(version));
        Some(Subscription { first, catalogue, events })
    }

    /// A snapshot shared by all clients that subscribe before the next event. That event contains the later changes.
    fn snapshot(&mut self) -> Arc<SeatsEvent> {
        if let Some((sequence, snapshot)) = &self.snapshot
            && *sequence == self.history.sequence()
        {
            return snapshot.clone();
        }
        let booked = self.booked.iter().filter(|(_, is_booked)| *is_booked);
        let snapshot = SeatsSnapshot {
            layout_version: self.layout_version,
            total_seats: self.booked.total(),
            available_seats: self.available(),
            booked_seat_ids: booked.map(|(seat, _)| seat).collect(),
        };
        let snapshot = Arc::new(self.event("snapshot", &snapshot));
        self.snapshot = Some((self.history.sequence(), snapshot.clone()));
        snapshot
    }

    fn change_event(&self, changes: SeatChanges) -> SeatsEvent {
        let (booked, freed): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, is_booked)| *is_booked);
        let seats = |seats: Vec<(SeatId, bool)>| sorted(seats.into_iter().map(|(seat, _)| seat));
        let change = SeatsChange {
            available_seats: self.available(),
            booked_seat_ids: seats(booked),
            freed_seat_ids: seats(freed),
        };
        self.event("change", &change)
    }

    fn event(&self, name: &'static str, data: &impl Serialize) -> SeatsEvent {
        let data = serde_json::to_string(data).expect("is JSON");
        SeatsEvent { id: self.last_event_id(), name, data }
    }
}

fn sorted(seats: impl Iterator<Item = SeatId>) -> Vec<SeatId> {
    let mut seats: Vec<SeatId> = seats.collect();
    seats.sort_unstable();
    seats
}

#[cfg(test)]
mod tests;
