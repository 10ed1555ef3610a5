//! The results of a batch: what becomes of each ticket, as the transaction writes it.

use std::collections::{BTreeMap, HashMap};

use hamro_shared::domain::{
    Booking, Outcome, Rejection, SettledTicket, SoldSeat, TicketId, TierId, Timestamp,
};

use super::allocation::{Decision, PriorDecisions};
use super::batch::{Batch, BookingCommand, DeadLetter, DeadLetterReason};

/// What was sold in this transaction.
#[derive(Default)]
pub(super) struct Sales {
    pub numbers: HashMap<TicketId, i64>,
    pub seats_by_tier: BTreeMap<TierId, i32>,
}

impl Sales {
    /// The number of the sale that was made under this ticket.
    pub fn number_of(&self, ticket: TicketId) -> Option<i64> {
        self.numbers.get(&ticket).copied()
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// What is to be written besides the sales.
#[derive(Default)]
pub(super) struct BatchResults<'a> {
    pub tickets: Vec<TicketResult<'a>>,
    pub dead_letters: Vec<DeadLetter>,
    /// The outcomes that a retry may share: those of this batch so far, and the earlier ones that it needs, or why one of
    /// these cannot be read.
    pub outcomes: HashMap<TicketId, Result<Outcome, String>>,
    pub deferred: Vec<BookingCommand>,
}

/// The end of one ticket, as it is to be written.
pub(super) struct TicketResult<'a> {
    pub ticket: SettledTicket,
    /// The order it is for; `None` where the envelope could not be read.
    pub command: Option<&'a BookingCommand>,
    pub alias_of: Option<TicketId>,
    pub holds_key: bool,
}

impl<'a> BatchResults<'a> {
    /// Puts the rows into the one order in which all transactions insert them: by the key that the order came with, then by
    /// ticket.
    ///
    /// An inserted row waits for a transaction that has inserted the same ticket, and then for one that has inserted the same
    /// key. A ticket always comes with the same key, so every ticket and every key belongs to one group of rows, and
    /// transactions go through the groups in one order: none waits in an earlier group while it holds a later one. Within a
    /// group, tickets come in one order too. What remains is a row that holds the key between two tickets: one transaction
    /// may hold a ticket and wait for the key, and another hold the key and wait for that ticket. For that the ticket must be
    /// in both batches, so both have asked for the same seats, and the locks on the seats have already made one of
    /// them wait for the other. Only if none of these seats exists do they get so far; then Postgres ends one of them, and it
    /// is tried again.
    pub fn sort(&mut self) {
        let key = |result: &TicketResult| result.command.and_then(|command| command.key).map(|key| key.0);
        self.tickets.sort_by_key(|result| (key(result), result.ticket.ticket_id));
    }

    pub fn record(
        &mut self,
        command: &'a BookingCommand,
        decision: Decision,
        sales: &Sales,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let ticket_id = command.ticket.id;
        let mut alias_of = None;
        let mut holds_key = false;
        let outcome = match decision {
            Decision::AlreadySettled => return Ok(()),
            Decision::TicketReused => {
                tracing::error!(ticket.log_id = %ticket_id, "ticket {ticket_id} came again with another request");
                let detail = "the ticket has been settled for another request; its outcome stands";
                self.dead_letters.push(command.dead_letter(DeadLetterReason::TicketReused, detail));
                return Ok(());
            }
            Decision::Sell(seats) => {
                holds_key = true;
                let sale = sales.number_of(ticket_id).ok_or(sqlx::Error::RowNotFound)?;
                Outcome::Confirmed { booking: command.booking(sale, seats, now) }
            }
            Decision::Reject(rejection) => {
                holds_key = rejection != Rejection::IdempotencyKeyReused;
                Outcome::Rejected { rejection }
            }
            Decision::Expire => Outcome::Expired,
            Decision::Defer => {
                let is_known = |known: &BookingCommand| {
                    (known.ticket.id, known.hash) == (command.ticket.id, command.hash)
                };
                if !self.deferred.iter().any(is_known) {
                    self.deferred.push(command.clone());
                }
                return Ok(());
            }
            Decision::ShareOutcomeOf(first) => match self.outcomes.get(&first) {
                Some(Ok(outcome)) => {
                    alias_of = Some(first);
                    outcome.clone()
                }
                unreadable => {
                    let reason = unreadable.and_then(|outcome| outcome.as_ref().err());
                    let reason = reason.map_or("it is gone", String::as_str);
                    let detail =
                        format!("it shares the outcome of ticket {first}, which cannot be read: {reason}");
                    self.fail(command, DeadLetterReason::UnreadableOutcome, &detail)
                }
            },
            Decision::FailWithoutPrice(tier) => {
                let detail = format!("the price of ticket tier {tier} is no number");
                self.fail(command, DeadLetterReason::UnreadablePrice, &detail)
            }
        };
        if holds_key && command.key.is_some() {
            self.outcomes.insert(ticket_id, Ok(outcome.clone()));
        }
        self.tickets.push(TicketResult {
            ticket: SettledTicket { ticket_id, settled_at: now, outcome },
            command: Some(command),
            alias_of,
            holds_key,
        });
        Ok(())
    }

    /// Keeps the order as a dead letter, for a fault of ours that follows it alone.
    fn fail(&mut self, command: &BookingCommand, reason: DeadLetterReason, detail: &str) -> Outcome {
        self.dead_letters.push(command.dead_letter(reason, detail));
        Outcome::Failed
    }
}

impl TicketResult<'_> {
    /// Names only the ticket, so that nothing else of the booking can be what the database refuses.
    pub fn of_letter(ticket_id: TicketId, outcome: Outcome, now: Timestamp) -> Self {
        let ticket = SettledTicket { ticket_id, settled_at: now, outcome };
        Self { ticket, command: None, alias_of: None, holds_key: false }
    }
}

impl BookingCommand {
    fn booking(&self, sale: i64, seats: Vec<SoldSeat>, sold_at: Timestamp) -> Booking {
        let (name, email) = (self.request.user_name().clone(), self.request.user_email().clone());
        Booking::of_sale(sale, name, email, sold_at, seats)
    }
}

impl Batch {
    /// The tickets, each once, that end by a dead letter, unless they had been settled or come with a readable envelope too.
    pub fn tickets_of_letters(&self, is_settled: impl Fn(TicketId) -> bool) -> Vec<(TicketId, Outcome)> {
        let mut tickets: Vec<(TicketId, Outcome)> = self
            .dead_letters
            .iter()
            .filter_map(|letter| letter.ticket.map(|ticket| (ticket, letter.reason.outcome())))
            .collect();
        tickets.sort_by_key(|(ticket, _)| *ticket);
        tickets.dedup_by_key(|(ticket, _)| *ticket);
        tickets.retain(|(ticket, _)| {
            !is_settled(*ticket) && self.commands.iter().all(|command| command.ticket.id != *ticket)
        });
        tickets
    }

    /// All dead letters but those of bookings that were set aside and have been decided by somebody else in the meantime. One
    /// that was only fenced off at its deadline, by a client's request for its status, was not.
    pub fn letters_to_keep(&self, settled: &PriorDecisions) -> Vec<DeadLetter> {
        let is_decided = |letter: &DeadLetter| {
            letter.reason == DeadLetterReason::SetAside
                && letter.ticket.is_some_and(|ticket| matches!(settled.tickets.get(&ticket), Some(Some(_))))
        };
        self.dead_letters.iter().filter(|letter| !is_decided(letter)).cloned().collect()
    }
}
