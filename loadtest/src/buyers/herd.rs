//! Buyers who choose free seats from the live seat map, and choose again if another buyer was faster.
//!
//! All buyers share one subscription to the map, because this scenario measures bookings, not event streams.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hamro_shared::backoff::Backoff;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::Deserialize;

use crate::http::Stream;
use crate::stage::{SharedStage, Stage};
use crate::wire::{Answer, Wish};

/// The maximum number of attempts of a buyer.
const TRIES: u32 = 5;
/// The time in milliseconds that a buyer takes to choose other seats.
const REACTION: std::ops::Range<u64> = 200..1_000;

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

    fn change(&self, change: &Change) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change.booked_seat_ids.iter().for_each(|seat| free.remove(*seat));
        change.freed_seat_ids.iter().for_each(|seat| free.add(*seat));
    }

    /// Chooses random free seats: as many as wanted, or all if there are fewer.
    fn choose(&self, party: usize, chance: &mut StdRng) -> Box<[i32]> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = Vec::new();
        while chosen.len() < party.min(free.seats.len()) {
            let seat = free.seats[chance.random_range(0..free.seats.len())];
            if !chosen.contains(&seat) {
                chosen.push(seat);
            }
        }
        chosen.into()
    }
}

/// Follows the seat map of every concert until `give_up` is cancelled.
pub async fn watch(stage: &SharedStage) -> Result<()> {
    for concert in &stage.hall.concerts {
        let path = format!("/seats/concert/{}/events", concert.id);
        let stream = open(stage, &path).await.with_context(|| format!("following {path}"))?;
        let stage = stage.clone();
        tokio::spawn(async move {
            let give_up = stage.give_up.clone();
            give_up.run_until_cancelled(keep_reading(&stage, &path, stream)).await;
        });
    }
    Ok(())
}

async fn open(stage: &Stage, path: &str) -> Result<Stream> {
    let stream = stage.followers.stream(path).await?;
    if stream.status() != 200 {
        bail!("the status is {}", stream.status());
    }
    Ok(stream)
}

async fn keep_reading(stage: &Stage, path: &str, mut stream: Stream) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        while let Ok(Some((_, data))) = stream.next().await {
            backoff.reset();
            if let Ok(change) = serde_json::from_str(&data) {
                stage.cast.map.change(&change);
            }
        }
        backoff.pause().await;
        // A new stream starts with a snapshot, which includes the missed changes.
        if let Ok(again) = open(stage, path).await {
            stream = again;
        }
    }
}

pub async fn arrive(stage: &Stage, number: u64, mut due: Instant) {
    let mut chance = stage.cast.wishes.chance(number);
    let party = stage.cast.wishes.party(&mut chance);
    for number_of_try in 0..TRIES {
        let seats = stage.cast.map.choose(party, &mut chance);
        if seats.is_empty() {
            return;
        }
        let wish = Wish { buyer: number, seats, key: stage.cast.wishes.keys.then_some(number_of_try) };
        let Some(has_lost) = try_once(stage, wish, due).await else { return };
        if !has_lost {
            return;
        }
        react(&mut chance).await;
        due = Instant::now();
    }
}

/// Whether the seats went to another buyer, so that this one may choose again. `None` if the outcome is unknown.
async fn try_once(stage: &Stage, wish: Wish, due: Instant) -> Option<bool> {
    let number = wish.buyer;
    match stage.ask(wish, due).await {
        Answer::Accepted { ticket } => {
            let has_lost = !stage.follow_to_the_end(ticket, due).await?.is_confirmed();
            if !has_lost {
                stage.read_again(number, ticket).await;
            }
            Some(has_lost)
        }
        Answer::Booked { .. } => Some(false),
        Answer::Refused { .. } => Some(true),
        Answer::Lost { .. } => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "simulates the time that a person takes to choose")]
async fn react(chance: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(chance.random_range(REACTION))).await;
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn chosen_seats_are_free_and_distinct() {
        let map = LiveMap::new(&[1, 2, 3, 4, 5]);
        map.change(&Change { booked_seat_ids: vec![1, 4, 9], freed_seat_ids: vec![] });
        map.change(&Change { booked_seat_ids: vec![], freed_seat_ids: vec![4, 5] });
        let mut chance = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let mut chosen = map.choose(10, &mut chance).to_vec();
            chosen.sort_unstable();
            assert_eq!(chosen, [2, 3, 4, 5]);
            assert_eq!(map.choose(2, &mut chance).len(), 2);
        }
        map.change(&Change { booked_seat_ids: vec![2, 3, 4, 5], freed_seat_ids: vec![] });
        assert!(map.choose(1, &mut chance).is_empty());
    }
}
