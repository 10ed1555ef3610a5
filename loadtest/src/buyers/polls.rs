//! Clients that poll tickets, some of which are queued and some settled.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use rand::RngExt;
use uuid::Uuid;

use super::Workload;
use crate::run_context::RunContext;
use crate::scenario::POLLS_A_BOOKING;

/// The number of recent tickets to poll.
const OF_LATE: usize = 10_000;

/// The most recently issued tickets.
#[derive(Default)]
pub struct IssuedTickets(Mutex<(Vec<Uuid>, usize)>);

impl IssuedTickets {
    fn add(&self, ticket: Uuid) {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tickets, oldest) = &mut *issued;
        if tickets.len() < OF_LATE {
            tickets.push(ticket);
        } else {
            tickets[*oldest] = ticket;
            *oldest = (*oldest + 1) % OF_LATE;
        }
    }

    fn any(&self, rng: &mut impl RngExt) -> Option<Uuid> {
        let issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tickets = &issued.0;
        (!tickets.is_empty()).then(|| tickets[rng.random_range(0..tickets.len())])
    }
}

impl Workload {
    /// Books once, so that the first poll has a ticket.
    pub(super) async fn book_first_ticket(&self, context: &RunContext) -> Result<()> {
        self.book(context, 0, Instant::now()).await.context("the first booking was not accepted")
    }

    pub(super) async fn book_or_poll(&self, context: &RunContext, number: u64, due: Instant) {
        if number.is_multiple_of(POLLS_A_BOOKING as u64) {
            self.book(context, number / POLLS_A_BOOKING as u64 + 1, due).await;
        } else if let Some(ticket) = self.issued.any(&mut context.rng(number)) {
            context.poll(ticket, due).await;
        }
    }

    async fn book(&self, context: &RunContext, buyer: u64, due: Instant) -> Option<()> {
        let intent = self.seat_choice.of(buyer, &context.seat_pool);
        let ticket = context.book(intent, due).await.ticket()?;
        self.issued.add(ticket);
        Some(())
    }
}
