//! The results of a batch: the outcome of each ticket, as the transaction writes it.

use std::collections::{BTreeMap, HashMap};

use hamro_shared::domain::{Outcome, SettledTicket, TicketId, TierId, Timestamp};
use hamro_shared::telemetry::traces::trace_id;
use tracing::error;

use super::allocation::Decision;
use super::batch::{BookingCommand, DeadLetter, DeadLetterReason};
use super::error_class::SettleError;

/// What this transaction sells.
#[derive(Default)]
pub(super) struct Sales {
    pub numbers: HashMap<TicketId, i64>,
    pub sold_count_by_tier: BTreeMap<TierId, i32>,
}

impl Sales {
    /// The number of the sale under this ticket.
    pub fn number_of(&self, ticket: TicketId) -> Option<i64> {
        self.numbers.get(&ticket).copied()
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// What to write besides the sales.
#[derive(Default)]
pub(super) struct BatchResults<'a> {
    pub tickets: Vec<TicketResult<'a>>,
    pub dead_letters: Vec<DeadLetter>,
    /// The outcomes that a retry may share: those of this batch so far, and the earlier ones that it needs. `Err` says
    /// why an earlier one cannot be read.
    pub outcomes: HashMap<TicketId, Result<Outcome, String>>,
    /// Not written: bookings to try again later.
    pub deferred: Vec<BookingCommand>,
}

/// The result of one ticket.
pub(super) struct TicketResult<'a> {
    pub ticket: SettledTicket,
    /// `None` if the envelope could not be read.
    pub command: Option<&'a BookingCommand>,
    /// The ticket whose outcome this one shares, as a retry under the same idempotency key.
    pub alias_of: Option<TicketId>,
    pub holds_key: bool,
}

impl<'a> BatchResults<'a> {
    /// Sorts the rows into the order in which every transaction inserts them, so that transactions do not deadlock on
    /// the unique indexes of `bookings`: by idempotency key, then by ticket.
    ///
    /// An inserted row waits for a transaction that has inserted the same ticket, and then for one that has inserted
    /// the same key. A ticket always has the same key, so all tickets and all rows of a key form one group, and every
    /// transaction processes the groups in one order: none waits in an earlier group while it holds a row of a later
    /// one. Within a group the tickets are in one order too.
    ///
    /// One case remains: a row that holds the key, between two tickets. One transaction may hold a ticket and wait for
    /// the key while another holds the key and waits for that ticket. Both batches then contain the ticket, so both
    /// have requested the same seats, and the seat locks have already ordered them. Only if none of those seats exists
    /// can both get this far; then Postgres aborts one of them, and it is retried.
    pub fn sort(&mut self) {
        let key_digest = |result: &TicketResult| {
            result.command.and_then(|command| command.key_digest).map(|digest| digest.0)
        };
        self.tickets.sort_by_key(|result| (key_digest(result), result.ticket.ticket_id));
    }

    /// Records what the decision means for the command's ticket.
    pub fn record(
        &mut self,
        command: &'a BookingCommand,
        decision: Decision,
        sales: &Sales,
        now: Timestamp,
    ) -> Result<(), SettleError> {
        let ticket_id = command.ticket.id;
        let mut alias_of = None;
        let holds_key = decision.holds_key();
        let outcome = match decision {
            Decision::AlreadySettled => return Ok(()),
            Decision::Defer => {
                self.defer(command);
                return Ok(());
            }
            Decision::TicketReused => {
                error!(ticket.log_id = %ticket_id, trace_id = trace_id(command.trace), "ticket {ticket_id} was delivered again with a different request");
                let detail = "the ticket was settled for another request; its outcome stands";
                self.dead_letters.push(command.dead_letter(DeadLetterReason::TicketReused, detail));
                return Ok(());
            }
            Decision::Sell(seats) => {
                let sale = sales.number_of(ticket_id);
                let sale = sale.ok_or(SettleError::Invariant("a booking was sold without a sale number"))?;
                Outcome::Confirmed { booking: command.booking(sale, seats, now) }
            }
            Decision::Reject(rejection) => Outcome::Rejected { rejection },
            Decision::Expire => Outcome::Expired,
            Decision::ShareOutcomeOf(first) => match self.outcomes.get(&first) {
                Some(Ok(outcome)) => {
                    alias_of = Some(first);
                    outcome.clone()
                }
                Some(Err(reason)) => {
                    let detail =
                        format!("it shares the outcome of ticket {first}, which cannot be read: {reason}");
                    self.fail(command, DeadLetterReason::UnreadableOutcome, &detail)
                }
                None => {
                    let detail = format!("it shares the outcome of ticket {first}, which no longer exists");
                    self.fail(command, DeadLetterReason::UnreadableOutcome, &detail)
                }
            },
            Decision::FailWithoutPrice(tier) => {
                let detail = format!("the price of ticket tier {tier} is not a number");
                self.fail(command, DeadLetterReason::UnreadablePrice, &detail)
            }
        };
        if holds_key && command.key_digest.is_some() {
            self.outcomes.insert(ticket_id, Ok(outcome.clone()));
        }
        let ticket = SettledTicket { ticket_id, settled_at: now, outcome };
        self.tickets.push(TicketResult { ticket, command: Some(command), alias_of, holds_key });
        Ok(())
    }

    fn defer(&mut self, command: &BookingCommand) {
        let is_same =
            |other: &BookingCommand| (other.ticket.id, other.hash) == (command.ticket.id, command.hash);
        if !self.deferred.iter().any(is_same) {
            self.deferred.push(command.clone());
        }
    }

    /// Fails a booking for a fault of the system that affects it alone, and stores it as a dead letter.
    fn fail(&mut self, command: &BookingCommand, reason: DeadLetterReason, detail: &str) -> Outcome {
        self.dead_letters.push(command.dead_letter(reason, detail));
        Outcome::Failed
    }
}

impl TicketResult<'_> {
    /// Contains nothing of the booking but its ticket, so that no other value can make the database reject it.
    pub fn of_letter(ticket_id: TicketId, outcome: Outcome, now: Timestamp) -> Self {
        let ticket = SettledTicket { ticket_id, settled_at: now, outcome };
        Self { ticket, command: None, alias_of: None, holds_key: false }
    }
}
