//! The seats of one concert as clients see them: which are booked, and what has changed since which event.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hamro_shared::domain::SeatId;
use serde::Serialize;
use tokio::sync::broadcast;

use super::booked_seats::BookedSeats;
use super::events::{SeatsChange, SeatsEvent, SeatsSnapshot};
use super::layout_version::LayoutVersion;

/// How many changes are kept for clients that reconnect. A client that has missed more gets a snapshot.
const HISTORY_LENGTH: usize = 256;

/// How many events a slow client may be behind. A client that is further behind gets a snapshot.
const CHANNEL_CAPACITY: usize = 64;

/// The current state of a seat map, its recent changes, and the channel on which they are broadcast.
pub struct SeatMapState {
    /// Distinguishes the events of this state from those of other instances and of earlier states.
    epoch: u64,
    /// The number of the latest event. Together with the epoch it is the event's id.
    sequence: u64,
    booked: BookedSeats,
    layout_version: LayoutVersion,
    /// Increases with every change, also before it is broadcast.
    revision: u64,
    /// Changes that have not been broadcast; `None` if seats were added, removed or renamed.
    pending: Option<HashMap<SeatId, bool>>,
    /// The latest broadcast changes, up to `sequence`.
    history: VecDeque<HashMap<SeatId, bool>>,
    /// Sales and releases announced since the reload began, which it may or may not contain, each seat with whether it is
    /// booked; `None` if no reload is running.
    announced_during_reload: Option<Vec<(SeatId, bool)>>,
    /// A snapshot, with the number of the event that it corresponds to.
    snapshot: Option<(u64, Arc<SeatsEvent>)>,
    /// `None` once the seat map is closed.
    events: Option<broadcast::Sender<Arc<SeatsEvent>>>,
}

/// What one client receives.
pub struct Subscription {
    /// The event to send first, if any.
    pub first: Option<Arc<SeatsEvent>>,
    pub events: broadcast::Receiver<Arc<SeatsEvent>>,
}

impl SeatMapState {
    /// A seat map without seats, to be filled by `begin_reload` and `apply_reload`.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            sequence: 0,
            booked: BookedSeats::default(),
            layout_version: LayoutVersion::default(),
            revision: 0,
            pending: Some(HashMap::new()),
            history: VecDeque::new(),
            announced_during_reload: None,
            snapshot: None,
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
        format!("{:x}-{}", self.epoch, self.sequence)
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

    /// Ends the streams of all subscribers.
    pub fn close(&mut self) {
        self.events = None;
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
        match self.pending.replace(HashMap::new()) {
            Some(changes) if changes.is_empty() => {}
            Some(changes) => {
                self.sequence += 1;
                let event = self.change_event(changes.clone());
                self.history.push_back(changes);
                if self.history.len() > HISTORY_LENGTH {
                    self.history.pop_front();
                }
                self.send(Arc::new(event));
            }
            None => {
                self.sequence += 1;
                self.history.clear();
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
        let first = match last_event_id.and_then(|id| self.changes_since(id)) {
            Some(missed) if missed.is_empty() => None,
            Some(missed) => Some(Arc::new(self.change_event(missed))),
            None => Some(self.snapshot()),
        };
        Some(Subscription { first, events })
    }

    /// What has changed since the event with this id; `None` if the id is unknown or too old.
    fn changes_since(&self, id: &str) -> Option<HashMap<SeatId, bool>> {
        let (epoch, sequence) = id.split_once('-')?;
        if epoch != format!("{:x}", self.epoch) {
            return None;
        }
        let missed = usize::try_from(self.sequence.checked_sub(sequence.parse().ok()?)?).ok()?;
        let first_missed = self.history.len().checked_sub(missed)?;
        let mut changes = HashMap::new();
        for later in self.history.iter().skip(first_missed) {
            changes.extend(later);
        }
        Some(changes)
    }

    /// A snapshot shared by all clients that subscribe before the next event. That event contains the later changes.
    fn snapshot(&mut self) -> Arc<SeatsEvent> {
        if let Some((sequence, snapshot)) = &self.snapshot
            && *sequence == self.sequence
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
        self.snapshot = Some((self.sequence, snapshot.clone()));
        snapshot
    }

    fn change_event(&self, changes: HashMap<SeatId, bool>) -> SeatsEvent {
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
        let data = serde_json::to_string(data).expect("contains only numbers");
        SeatsEvent { id: self.last_event_id(), name, data }
    }
}

fn sorted(seats: impl Iterator<Item = SeatId>) -> Vec<SeatId> {
    let mut seats: Vec<SeatId> = seats.collect();
    seats.sort_unstable();
    seats
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LAYOUT: LayoutVersion = LayoutVersion([0xab; 16]);

    fn seats(booked: &[i32], free: &[i32]) -> BookedSeats {
        let mut seats: Vec<i32> = booked.iter().chain(free).copied().collect();
        seats.sort_unstable();
        BookedSeats::new(seats.into_iter().map(|id| (SeatId(id), booked.contains(&id))))
    }

    fn snapshot_of_three() -> Value {
        json!({"layoutVersion": "ab".repeat(16), "totalSeats": 3, "availableSeats": 2, "bookedSeatIds": [1]})
    }

    fn seat_map(booked: &[i32], free: &[i32]) -> SeatMapState {
        let mut seat_map = SeatMapState::new(0xa);
        seat_map.begin_reload();
        seat_map.apply_reload(seats(booked, free), LAYOUT);
        seat_map.broadcast_changes();
        seat_map
    }

    fn content(event: Option<Arc<SeatsEvent>>) -> (String, &'static str, Value) {
        let event = event.unwrap();
        (event.id.clone(), event.name, serde_json::from_str(&event.data).unwrap())
    }

    fn next(subscription: &mut Subscription) -> (String, &'static str, Value) {
        content(subscription.events.try_recv().ok())
    }

    #[test]
    fn a_new_subscriber_receives_a_snapshot_and_then_changes() {
        let mut seat_map = seat_map(&[1], &[2, 3]);
        let mut subscription = seat_map.subscribe(None).unwrap();
        let all = snapshot_of_three();
        assert_eq!(content(subscription.first.take()), ("a-1".into(), "snapshot", all));
        seat_map.mark_sold(&[SeatId(2), SeatId(77)]);
        seat_map.mark_sold(&[SeatId(2)]);
        seat_map.broadcast_changes();
        seat_map.broadcast_changes();
        let change = json!({"availableSeats": 1, "bookedSeatIds": [2], "freedSeatIds": []});
        assert_eq!(next(&mut subscription), ("a-2".into(), "change", change));
        assert!(subscription.events.try_recv().is_err());
    }

    #[test]
    fn a_returning_subscriber_receives_all_missed_changes_in_one_event() {
        let mut seat_map = seat_map(&[1], &[2, 3, 4]);
        for seat in [2, 3] {
            seat_map.mark_sold(&[SeatId(seat)]);
            seat_map.broadcast_changes();
        }
        let missed = json!({"availableSeats": 1, "bookedSeatIds": [2, 3], "freedSeatIds": []});
        assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first), ("a-3".into(), "change", missed));
        assert_eq!(seat_map.subscribe(Some("a-3")).unwrap().first, None);
    }

    #[test]
    fn an_unknown_or_too_old_event_id_yields_a_snapshot() {
        let mut seat_map = seat_map(&[1], &[2]);
        for id in ["b-1", "a-0", "a-2", "a", "", "a--1", "a-99999999999999999999"] {
            assert_eq!(content(seat_map.subscribe(Some(id)).unwrap().first).1, "snapshot", "{id}");
        }
        for turn in 0..HISTORY_LENGTH {
            seat_map.begin_reload();
            let all_booked = turn % 2 == 0;
            seat_map.apply_reload(if all_booked { seats(&[1, 2], &[]) } else { seats(&[], &[1, 2]) }, LAYOUT);
            seat_map.broadcast_changes();
        }
        assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first).1, "change");
        seat_map.mark_sold(&[SeatId(1)]);
        seat_map.mark_sold(&[SeatId(2)]);
        seat_map.broadcast_changes();
        assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first).1, "snapshot");
    }

    #[test]
    fn a_client_that_subscribes_between_two_events_misses_no_change() {
        let mut seat_map = seat_map(&[1], &[2, 3]);
        let early = content(seat_map.subscribe(None).unwrap().first);
        seat_map.mark_sold(&[SeatId(2)]);
        let mut late = seat_map.subscribe(None).unwrap();
        assert_eq!(content(late.first.take()), early, "the snapshot is not rebuilt");
        seat_map.broadcast_changes();
        assert_eq!(next(&mut late).2["bookedSeatIds"], json!([2]));
    }

    #[test]
    fn closing_a_seat_map_ends_its_streams() {
        let mut seat_map = seat_map(&[1], &[2]);
        let mut subscription = seat_map.subscribe(None).unwrap();
        seat_map.close();
        assert!(matches!(subscription.events.try_recv(), Err(broadcast::error::TryRecvError::Closed)));
        assert!(seat_map.subscribe(None).is_none());
    }

    #[test]
    fn a_reload_does_not_undo_a_sale_announced_while_it_was_running() {
        let mut seat_map = seat_map(&[], &[1, 2]);
        seat_map.begin_reload();
        seat_map.mark_sold(&[SeatId(1)]);
        seat_map.apply_reload(seats(&[2], &[1]), LAYOUT);
        assert_eq!(seat_map.available(), 0);
    }

    #[test]
    fn a_seat_map_with_added_seats_is_sent_as_a_snapshot() {
        let mut seat_map = seat_map(&[1], &[2]);
        let mut subscription = seat_map.subscribe(None).unwrap();
        seat_map.begin_reload();
        seat_map.apply_reload(seats(&[1], &[2, 3]), LAYOUT);
        seat_map.broadcast_changes();
        let all = snapshot_of_three();
        assert_eq!(next(&mut subscription), ("a-2".into(), "snapshot", all));
        assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first).1, "snapshot");
    }

    #[test]
    fn a_renamed_seat_is_sent_as_a_snapshot_with_the_new_layout_version() {
        let mut seat_map = seat_map(&[1], &[2, 3]);
        let mut subscription = seat_map.subscribe(None).unwrap();
        seat_map.begin_reload();
        seat_map.apply_reload(seats(&[1], &[2, 3]), LayoutVersion([0xcd; 16]));
        seat_map.broadcast_changes();
        let (_, name, data) = next(&mut subscription);
        assert_eq!((name, &data["layoutVersion"]), ("snapshot", &json!("cd".repeat(16))));
    }

    #[test]
    fn the_events_after_the_id_of_the_latest_one_contain_every_later_change() {
        let mut seat_map = seat_map(&[1], &[2, 3]);
        seat_map.mark_sold(&[SeatId(2)]);
        let (id, revision) = (seat_map.last_event_id(), seat_map.revision());
        seat_map.mark_sold(&[SeatId(3)]);
        assert!(seat_map.revision() > revision);
        seat_map.broadcast_changes();
        let first = content(seat_map.subscribe(Some(&id)).unwrap().first);
        assert_eq!(first.2["bookedSeatIds"], json!([2, 3]));
    }
}
