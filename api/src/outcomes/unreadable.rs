//! Logs stored outcomes that this version cannot read.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use hamro_shared::database::tickets::Unreadable;
use hamro_shared::domain::TicketId;
use tracing::error;

/// How many tickets are remembered. At the limit all are forgotten, and each may be logged once more.
const REMEMBERED_MAX: usize = 1_000;

/// The tickets whose stored outcome is unreadable, so that each is logged once, however often clients request it.
#[derive(Default)]
pub struct UnreadableTickets(Mutex<HashSet<TicketId>>);

impl UnreadableTickets {
    pub fn log_once(&self, unreadable: &Unreadable) {
        let ticket = unreadable.ticket;
        if self.is_new(ticket) {
            error!(ticket.log_id = %ticket, "{unreadable}; its status returns 500 until the row is repaired");
        }
    }

    fn is_new(&self, ticket: TicketId) -> bool {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() >= REMEMBERED_MAX {
            tickets.clear();
        }
        tickets.insert(ticket)
    }
}
