//! Buyers who choose free seats from the live seat map, and choose again if another buyer was faster.
//!
//! All buyers share one subscription to the map, because this scenario measures bookings, not event streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hamro_shared::backoff::Backoff;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::Deserialize;

use super::Workload;
use crate::run_context::RunContext;
use hamro_verification::contract::{BookingIntent, BookingResponse};
use hamro_verification::http::EventStream;

/// The maximum number of attempts of a buyer.
pub(super) const ATTEMPTS: u32 = 5;
/// The time in milliseconds that a buyer takes to choose other seats.
const THINKING_MILLIS: std::ops::Range<u64> = 200..1_000;

/// The free seats, updated from the event streams of the concerts.
#[derive(Default)]
pub struct LiveMap(Mutex<Free>);

/// The free seats, and the index of each in the list.
#[derive(Default)]
struct Free {
    seats: Vec<i32>,
    places: HashMap<i32, usize>,
}

impl Free {
    fn add(&mut self, seat: i32) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry(seat) {
            place.insert(self.seats.len());
            self.seats.push(seat);
        }
    }

    fn remove(&mut self, seat: i32) {
        if let Some(place) = self.places.remove(&seat) {
            self.seats.swap_remove(place);
            if let Some(moved) = self.seats.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }
}

/// An event of a seat map.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[serde(default)]
    booked_seat_ids: Vec<i32>,
    #[serde(default)]
    freed_seat_ids: Vec<i32>,
}

impl LiveMap {
    pub fn new(seats: &[i32]) -> Self {
        let mut free = Free::default();
        for seat in seats {
            free.add(*seat);
        }
        Self(Mutex::new(free))
    }

    fn apply(&self, change: &Change) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change.booked_seat_ids.iter().for_each(|seat| free.remove(*seat));
        change.freed_seat_ids.iter().for_each(|seat| free.add(*seat));
    }

    /// Chooses random free seats: as many as wanted, or all if there are fewer.
    pub(super) fn choose(&self, group_size: usize, rng: &mut StdRng) -> Box<[i32]> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = Vec::new();
        while chosen.len() < group_size.min(free.seats.len()) {
            let seat = free.seats[rng.random_range(0..free.seats.len())];
            if !chosen.contains(&seat) {
                chosen.push(seat);
            }
        }
        chosen.into()
    }
}

/// Applies the changes of every concert's seat map to `map`, until `give_up` is cancelled.
pub async fn subscribe(context: &Arc<RunContext>, map: &Arc<LiveMap>) -> Result<()> {
    for concert in &context.seat_pool.concerts {
        let path = format!("/seats/concert/{}/events", concert.id);
        let stream = open(context, &path).await.with_context(|| format!("following {path}"))?;
        let (context, map) = (context.clone(), map.clone());
        tokio::spawn(async move {
            let give_up = context.give_up.clone();
            give_up.run_until_cancelled(keep_reading(&context, &map, &path, stream)).await;
        });
    }
    Ok(())
}

async fn open(context: &RunContext, path: &str) -> Result<EventStream> {
    let stream = context.followers.events(path).await?;
    if stream.status() != 200 {
        bail!("the status is {}", stream.status());
    }
    Ok(stream)
}

async fn keep_reading(context: &RunContext, map: &LiveMap, path: &str, mut stream: EventStream) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        while let Ok(Some(event)) = stream.next().await {
            backoff.reset();
            if let Ok(change) = serde_json::from_str(&event.data) {
                map.apply(&change);
            }
        }
        backoff.pause().await;
        // A new stream starts with a snapshot, which includes the missed changes.
        if let Ok(again) = open(context, path).await {
            stream = again;
        }
    }
}

impl Workload {
    pub(super) async fn choose_and_book(&self, context: &RunContext, number: u64, mut due: Instant) {
        let mut rng = context.rng(number);
        let group_size = self.seat_choice.group_size(&mut rng);
        for attempt in 0..ATTEMPTS {
            let seats = self.live_map.choose(group_size, &mut rng);
            if seats.is_empty() {
                return;
            }
            let intent =
                BookingIntent { buyer: number, seats, key: self.seat_choice.keys.then_some(attempt) };
            let Some(has_lost) = try_once(context, intent, due).await else { return };
            if !has_lost {
                return;
            }
            think(&mut rng).await;
            due = Instant::now();
        }
    }
}

/// Whether the seats went to another buyer, so that this one may choose again. `None` if the outcome is unknown.
pub(super) async fn try_once(context: &RunContext, intent: BookingIntent, due: Instant) -> Option<bool> {
    let number = intent.buyer;
    match context.book(intent, due).await {
        BookingResponse::Accepted { ticket } => {
            let has_lost = !context.follow_until_final(ticket, due).await?.is_confirmed();
            if !has_lost {
                context.read_again(number, ticket).await;
            }
            Some(has_lost)
        }
        BookingResponse::Booked { .. } => Some(false),
        BookingResponse::Refused { .. } => Some(true),
        BookingResponse::Missing { .. } => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "simulates the time that a person takes to choose")]
pub(super) async fn think(rng: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(THINKING_MILLIS))).await;
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn chosen_seats_are_free_and_distinct() {
        let map = LiveMap::new(&[1, 2, 3, 4, 5]);
        map.apply(&Change { booked_seat_ids: vec![1, 4, 9], freed_seat_ids: vec![] });
        map.apply(&Change { booked_seat_ids: vec![], freed_seat_ids: vec![4, 5] });
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let mut chosen = map.choose(10, &mut rng).to_vec();
            chosen.sort_unstable();
            assert_eq!(chosen, [2, 3, 4, 5]);
            assert_eq!(map.choose(2, &mut rng).len(), 2);
        }
        map.apply(&Change { booked_seat_ids: vec![2, 3, 4, 5], freed_seat_ids: vec![] });
        assert!(map.choose(1, &mut rng).is_empty());
    }
}
