//! Clients that poll tickets, some of which are queued and some settled.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use rand::RngExt;
use uuid::Uuid;

use crate::scenario::POLLS_A_BOOKING;
use crate::stage::{SharedStage, Stage};

/// The number of recent tickets to poll.
const OF_LATE: usize = 10_000;

/// The most recently issued tickets.
#[derive(Default)]
pub struct Handed(Mutex<(Vec<Uuid>, usize)>);

impl Handed {
    fn add(&self, ticket: Uuid) {
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tickets, oldest) = &mut *handed;
        if tickets.len() < OF_LATE {
            tickets.push(ticket);
        } else {
            tickets[*oldest] = ticket;
            *oldest = (*oldest + 1) % OF_LATE;
        }
    }

    fn any(&self, chance: &mut impl RngExt) -> Option<Uuid> {
        let handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tickets = &handed.0;
        (!tickets.is_empty()).then(|| tickets[chance.random_range(0..tickets.len())])
    }
}

/// Books once, so that the first poll has a ticket.
pub async fn first_ticket(stage: &SharedStage) -> Result<()> {
    book(stage, 0, Instant::now()).await.context("the first booking was not accepted")
}

pub async fn arrive(stage: &Stage, number: u64, due: Instant) {
    if number.is_multiple_of(POLLS_A_BOOKING as u64) {
        book(stage, number / POLLS_A_BOOKING as u64 + 1, due).await;
    } else if let Some(ticket) = stage.cast.handed.any(&mut stage.cast.wishes.chance(number)) {
        stage.poll(ticket, due).await;
    }
}

async fn book(stage: &Stage, buyer: u64, due: Instant) -> Option<()> {
    let wish = stage.cast.wishes.of(buyer, &stage.hall);
    let ticket = stage.ask(wish, due).await.ticket()?;
    stage.cast.handed.add(ticket);
    Some(())
}
