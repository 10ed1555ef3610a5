//! The seats of one concert as those who watch its map see them: which are booked, and what has changed since when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hamro_shared::domain::SeatId;
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

/// Changes that a client may have missed and still be told by themselves; one that has missed more starts anew.
const HISTORY_LENGTH: usize = 256;

/// Events that a slow client may be behind; one that is further behind starts anew.
const CHANNEL_CAPACITY: usize = 64;

/// Which seats are booked: the first event of a stream, and of any client that has lost the thread.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"totalSeats": 100, "availableSeats": 98, "bookedSeatIds": [21, 22]}))]
pub struct SeatsSnapshot {
    /// If it is not what the seat map said, seats were added or removed: load the map again.
    total_seats: usize,
    available_seats: usize,
    /// All of them; every other seat is free.
    booked_seat_ids: Vec<SeatId>,
}

/// What has changed since the event before.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"availableSeats": 96, "bookedSeatIds": [23, 42], "freedSeatIds": []}))]
pub struct SeatsChange {
    available_seats: usize,
    /// Those that are booked now.
    booked_seat_ids: Vec<SeatId>,
    /// Those that are free again.
    freed_seat_ids: Vec<SeatId>,
}

/// An event as all who watch are sent it, written once.
#[derive(Debug, PartialEq, Eq)]
pub struct SeatsEvent {
    pub id: String,
    pub name: &'static str,
    pub data: String,
}

pub struct SeatMapState {
    /// Tells the events of this copy of the hall from those of other instances, and of earlier copies.
    epoch: u64,
    /// Changes so far: with the name, the id of the latest event.
    sequence: u64,
    is_booked: HashMap<SeatId, bool>,
    available: usize,
    /// What has changed and has not been told yet; `None` if seats were added or removed.
    pending: Option<HashMap<SeatId, bool>>,
    /// The latest changes, up to `sequence`.
    history: VecDeque<HashMap<SeatId, bool>>,
    /// What was announced while the database is being read, which may or may not be in what is read.
    sold_during_reload: Option<Vec<SeatId>>,
    /// All of it, as of the event of this number.
    snapshot: Option<(u64, Arc<SeatsEvent>)>,
    /// `None` once there is no such hall any more.
    events: Option<broadcast::Sender<Arc<SeatsEvent>>>,
}

/// A client's part of a hall.
pub struct Subscription {
    /// What it has to be told first, if anything.
    pub first: Option<Arc<SeatsEvent>>,
    pub events: broadcast::Receiver<Arc<SeatsEvent>>,
}

impl SeatMapState {
    /// An empty one, to be filled by `begin_reload` and `apply_reload`.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            sequence: 0,
            is_booked: HashMap::new(),
            available: 0,
            pending: Some(HashMap::new()),
            history: VecDeque::new(),
            sold_during_reload: None,
            snapshot: None,
            events: Some(broadcast::Sender::new(CHANNEL_CAPACITY)),
        }
    }

    pub fn available(&self) -> usize {
        self.available
    }

    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        self.events.as_ref().is_some_and(|events| events.receiver_count() > 0)
    }

    /// A worker has announced a sale of these seats, of which some may be of other concerts.
    pub fn mark_sold(&mut self, seats: &[SeatId]) {
        if let Some(sold_during_reload) = &mut self.sold_during_reload {
            sold_during_reload.extend(seats);
        }
        for seat in seats {
            self.set(*seat, true);
        }
    }

    /// From here on the database is being read.
    pub fn begin_reload(&mut self) {
        self.sold_during_reload = Some(Vec::new());
    }

    /// It could not be read: all is as it was.
    pub fn abort_reload(&mut self) {
        self.sold_during_reload = None;
    }

    /// There is no such hall any more: the streams of those who watch it end.
    pub fn close(&mut self) {
        self.events = None;
    }

    /// What was read: all seats, and whether each is booked. What was announced meanwhile holds as well.
    pub fn apply_reload(&mut self, mut seats: HashMap<SeatId, bool>) {
        for seat in self.sold_during_reload.take().unwrap_or_default() {
            if let Some(is_booked) = seats.get_mut(&seat) {
                *is_booked = true;
            }
        }
        let is_same_hall =
            seats.len() == self.is_booked.len() && seats.keys().all(|seat| self.is_booked.contains_key(seat));
        if is_same_hall {
            for (seat, is_booked) in seats {
                self.set(seat, is_booked);
            }
        } else {
            self.available = seats.values().filter(|is_booked| !**is_booked).count();
            self.is_booked = seats;
            self.pending = None;
        }
    }

    fn set(&mut self, seat: SeatId, is_booked: bool) {
        let Some(was_booked) = self.is_booked.get_mut(&seat) else { return };
        if *was_booked == is_booked {
            return;
        }
        *was_booked = is_booked;
        if is_booked {
            self.available -= 1;
        } else {
            self.available += 1;
        }
        if let Some(pending) = &mut self.pending {
            pending.insert(seat, is_booked);
        }
    }

    /// Tells everybody what has changed since the last time.
    pub fn broadcast_changes(&mut self) {
        match self.pending.replace(HashMap::new()) {
            Some(changes) if changes.is_empty() => {}
            Some(changes) => {
                self.sequence += 1;
                let event = self.change(changes.clone());
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
            // Nobody may be there to hear it.
            let _ = events.send(event);
        }
    }

    /// A client joins, which may have received events before. What it is told first may be newer than the last event: the
    /// next one then tells of some seats once more. `None` if there is no such hall any more.
    pub fn subscribe(&mut self, last_event_id: Option<&str>) -> Option<Subscription> {
        let events = self.events.as_ref()?.subscribe();
        let first = match last_event_id.and_then(|id| self.changes_since(id)) {
            Some(missed) if missed.is_empty() => None,
            Some(missed) => Some(Arc::new(self.change(missed))),
            None => Some(self.snapshot()),
        };
        Some(Subscription { first, events })
    }

    /// What has changed since the event of this id; `None` if it is not known any more, or never was.
    fn changes_since(&self, id: &str) -> Option<HashMap<SeatId, bool>> {
        let (epoch, sequence) = id.split_once('-')?;
        if epoch != format!("{:x}", self.epoch) {
            return None;
        }
        let missed = usize::try_from(self.sequence.checked_sub(sequence.parse().ok()?)?).ok()?;
        let first = self.history.len().checked_sub(missed)?;
        let mut changes = HashMap::new();
        for later in self.history.iter().skip(first) {
            changes.extend(later);
        }
        Some(changes)
    }

    /// Made once for each number, however many join: what has changed since is in the next event.
    fn snapshot(&mut self) -> Arc<SeatsEvent> {
        if let Some((sequence, snapshot)) = &self.snapshot
            && *sequence == self.sequence
        {
            return snapshot.clone();
        }
        let booked = self.is_booked.iter().filter(|(_, is_booked)| **is_booked);
        let snapshot = SeatsSnapshot {
            total_seats: self.is_booked.len(),
            available_seats: self.available,
            booked_seat_ids: sorted(booked.map(|(seat, _)| *seat)),
        };
        let snapshot = Arc::new(self.event("snapshot", &snapshot));
        self.snapshot = Some((self.sequence, snapshot.clone()));
        snapshot
    }

    fn change(&self, changes: HashMap<SeatId, bool>) -> SeatsEvent {
        let (booked, freed): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, is_booked)| *is_booked);
        let seats = |seats: Vec<(SeatId, bool)>| sorted(seats.into_iter().map(|(seat, _)| seat));
        let change = SeatsChange {
            available_seats: self.available,
            booked_seat_ids: seats(booked),
            freed_seat_ids: seats(freed),
        };
        self.event("change", &change)
    }

    fn event(&self, name: &'static str, data: &impl Serialize) -> SeatsEvent {
        let data = serde_json::to_string(data).expect("numbers only");
        SeatsEvent { id: format!("{:x}-{}", self.epoch, self.sequence), name, data }
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

    fn seats(booked: &[i32], free: &[i32]) -> HashMap<SeatId, bool> {
        let seats =
            |ids: &[i32], is_booked| ids.iter().map(|id| (SeatId(*id), is_booked)).collect::<Vec<_>>();
        seats(booked, true).into_iter().chain(seats(free, false)).collect()
    }

    fn seat_map(booked: &[i32], free: &[i32]) -> SeatMapState {
        let mut seat_map = SeatMapState::new(0xa);
        seat_map.begin_reload();
        seat_map.apply_reload(seats(booked, free));
        seat_map.broadcast_changes();
        seat_map
    }

    fn history(event: Option<Arc<SeatsEvent>>) -> (String, &'static str, Value) {
        let event = event.unwrap();
        (event.id.clone(), event.name, serde_json::from_str(&event.data).unwrap())
    }

    fn next(subscribe: &mut Subscription) -> (String, &'static str, Value) {
        history(subscribe.events.try_recv().ok())
    }

    #[test]
    fn who_joins_is_told_all_and_then_what_changes() {
        let mut seat_map = seat_map(&[1], &[2, 3]);
        let mut subscribe = seat_map.subscribe(None).unwrap();
        let all = json!({"totalSeats": 3, "availableSeats": 2, "bookedSeatIds": [1]});
        assert_eq!(history(subscribe.first.take()), ("a-1".into(), "snapshot", all));
        seat_map.mark_sold(&[SeatId(2), SeatId(77)]);
        seat_map.mark_sold(&[SeatId(2)]);
        seat_map.broadcast_changes();
        seat_map.broadcast_changes();
        let change = json!({"availableSeats": 1, "bookedSeatIds": [2], "freedSeatIds": []});
        assert_eq!(next(&mut subscribe), ("a-2".into(), "change", change));
        assert!(subscribe.events.try_recv().is_err());
    }

    #[test]
    fn who_comes_back_is_told_what_was_missed_together() {
        let mut seat_map = seat_map(&[1], &[2, 3, 4]);
        for seat in [2, 3] {
            seat_map.mark_sold(&[SeatId(seat)]);
            seat_map.broadcast_changes();
        }
        let missed = json!({"availableSeats": 1, "bookedSeatIds": [2, 3], "freedSeatIds": []});
        assert_eq!(history(seat_map.subscribe(Some("a-1")).unwrap().first), ("a-3".into(), "change", missed));
        assert_eq!(seat_map.subscribe(Some("a-3")).unwrap().first, None);
    }

    #[test]
    fn an_id_that_is_not_known_gets_everything() {
        let mut seat_map = seat_map(&[1], &[2]);
        for id in ["b-1", "a-0", "a-2", "a", "", "a--1", "a-99999999999999999999"] {
            assert_eq!(history(seat_map.subscribe(Some(id)).unwrap().first).1, "snapshot", "{id}");
        }
        for turn in 0..HISTORY_LENGTH {
            seat_map.begin_reload();
            seat_map.apply_reload(seats(&[1], &[2]).into_keys().map(|seat| (seat, turn % 2 == 0)).collect());
            seat_map.broadcast_changes();
        }
        assert_eq!(history(seat_map.subscribe(Some("a-1")).unwrap().first).1, "change");
        seat_map.mark_sold(&[SeatId(1)]);
        seat_map.mark_sold(&[SeatId(2)]);
        seat_map.broadcast_changes();
        assert_eq!(history(seat_map.subscribe(Some("a-1")).unwrap().first).1, "snapshot");
    }

    #[test]
    fn who_joins_between_two_events_misses_nothing() {
        let mut seat_map = seat_map(&[1], &[2, 3]);
        let early = history(seat_map.subscribe(None).unwrap().first);
        seat_map.mark_sold(&[SeatId(2)]);
        let mut late = seat_map.subscribe(None).unwrap();
        assert_eq!(history(late.first.take()), early, "it is made once");
        seat_map.broadcast_changes();
        assert_eq!(next(&mut late).2["bookedSeatIds"], json!([2]));
    }

    #[test]
    fn the_streams_of_a_hall_that_is_no_more_end() {
        let mut seat_map = seat_map(&[1], &[2]);
        let mut subscribe = seat_map.subscribe(None).unwrap();
        seat_map.close();
        assert!(matches!(subscribe.events.try_recv(), Err(broadcast::error::TryRecvError::Closed)));
        assert!(seat_map.subscribe(None).is_none());
    }

    #[test]
    fn what_is_announced_while_the_database_is_read_is_not_undone_by_what_was_read() {
        let mut seat_map = seat_map(&[], &[1, 2]);
        seat_map.begin_reload();
        seat_map.mark_sold(&[SeatId(1)]);
        seat_map.apply_reload(seats(&[2], &[1]));
        assert_eq!(seat_map.available(), 0);
    }

    #[test]
    fn a_hall_that_gets_more_seats_is_told_as_a_whole() {
        let mut seat_map = seat_map(&[1], &[2]);
        let mut subscribe = seat_map.subscribe(None).unwrap();
        seat_map.begin_reload();
        seat_map.apply_reload(seats(&[1], &[2, 3]));
        seat_map.broadcast_changes();
        let all = json!({"totalSeats": 3, "availableSeats": 2, "bookedSeatIds": [1]});
        assert_eq!(next(&mut subscribe), ("a-2".into(), "snapshot", all));
        assert_eq!(history(seat_map.subscribe(Some("a-1")).unwrap().first).1, "snapshot");
    }
}
