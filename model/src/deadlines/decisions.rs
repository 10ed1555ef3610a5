//! What a worker and a fence decide.

use hamro_worker::settlement::allocation::{Decision, PriorDecisions, allocate};
use hamro_worker::settlement::batch::BookingCommand;

use super::{Deadlines, Id, Issued, Outcome, Rule, State, WRONG, at};
use crate::bookings::inventory;

impl Deadlines {
    /// Decides as a worker does whose clock shows `clock`.
    pub(super) fn decide(&self, state: &State, id: Id, deadline: i8, clock: i8) -> Option<Outcome> {
        let mut prior = PriorDecisions::default();
        for (command, row) in self.commands.iter().zip(&state.rows) {
            let Some(row) = row else { continue };
            prior.tickets.insert(command.ticket.id, None);
            let holds_key = match row.outcome {
                Outcome::Sold | Outcome::Rejected => true,
                Outcome::Expired => !self.has(Rule::ExpiredTicketsHoldNoKey),
                Outcome::Shared { .. } => false,
            };
            if let (true, Some(key)) = (holds_key, command.key_digest) {
                prior.keys.insert(key, (command.ticket.id, Some(command.hash)));
            }
        }
        let is_sold = state.rows.iter().flatten().any(|row| row.outcome == Outcome::Sold);
        let deadline = if self.has(Rule::WorkersCheckDeadlines) { deadline } else { i8::MAX };
        let booking = BookingCommand { ticket: self.ticket(id, deadline), ..self.commands[id].clone() };
        match allocate(&[booking], inventory([(0, is_sold)]), prior, at(clock)).remove(0) {
            Decision::AlreadySettled => None,
            Decision::Sell(_) => Some(Outcome::Sold),
            Decision::Expire => Some(Outcome::Expired),
            Decision::ShareOutcomeOf(first) => {
                let first = self.commands.iter().position(|command| command.ticket.id == first)?;
                let expired = state.rows[first].is_some_and(|row| row.outcome == Outcome::Expired);
                Some(Outcome::Shared { expired })
            }
            _ => Some(Outcome::Rejected),
        }
    }

    /// Whether a fence of the ticket inserts a row.
    pub(super) fn may_fence(&self, state: &State, id: Id) -> bool {
        let is_past = |issued: Issued| {
            let clock = if self.has(Rule::FencesUseTheDatabaseClock) { state.now } else { state.now + WRONG };
            self.ticket(id, issued.deadline).is_past_deadline(at(clock))
        };
        state.rows[id].is_none() && state.tickets[id].is_some_and(is_past)
    }
}
