//! What is committed: sales, releases, a restore, and a failover.

use hamro_worker::settlement::allocation::{Decision, PriorDecisions, allocate};

use super::{
    ATTEMPTS, Attempt, EarlyRejection, FREE_AFTER, Id, NEVER, Refusal, Release, Rule, Seat, SeatsVersion,
    State, has_same_key, ticket_of,
};
use crate::bookings::{inventory, moment};

impl State {
    /// Decides as a worker does, and commits.
    pub(super) fn settle(&mut self, model: &EarlyRejection, attempt: Id, sent_at: u8, issued_at: u8) {
        let issued = moment(1_000 * i64::from(issued_at));
        let seats = model.seats_of(attempt);
        let is_sold = |seat: u8| {
            let seat = self.seats[usize::from(seat)];
            let is_too_early = issued < moment(1_000 * i64::from(seat.free_from));
            seat.sold_to.is_some() || is_too_early && model.has(Rule::ReleasedSeatsNeedLaterTickets)
        };
        let inventory = inventory(seats.iter().map(|seat| (*seat, is_sold(*seat))));
        let command = model.commands[attempt].clone();
        let mut prior = PriorDecisions::default();
        let first = (0..ATTEMPTS).find(|id| {
            let holds_key = matches!(self.attempts[*id], Attempt::Sold { .. } | Attempt::Rejected { .. });
            holds_key && has_same_key(*id, attempt)
        });
        if let (Some(first), Some(digest)) = (first, command.key_digest) {
            prior.keys.insert(digest, (ticket_of(first), Some(command.hash)));
        }
        let decision = allocate(&[command], inventory, prior, issued).remove(0);
        self.attempts[attempt] = match decision {
            Decision::Sell(_) => {
                for seat in &seats {
                    self.seats[usize::from(*seat)].sold_to = Some(attempt);
                }
                let refused_retry = |id, other| {
                    let is_later = |refusal: Refusal| refusal.at >= sent_at;
                    has_same_key(id, attempt)
                        && matches!(other, Attempt::Refused(refusal) if is_later(refusal))
                };
                Attempt::Sold {
                    version: self.version,
                    after_refusal: self.among(refused_retry) != 0,
                    released: false,
                }
            }
            Decision::ShareOutcomeOf(_) => Attempt::Shared {
                sold: first.is_some_and(|id| matches!(self.attempts[id], Attempt::Sold { .. })),
            },
            _ => {
                let was_free = |seat: &u8| {
                    let seat = self.seats[usize::from(*seat)];
                    seat.sold_to.is_none() && issued_at >= seat.free_from
                };
                Attempt::Rejected { wrongly: seats.iter().all(was_free) }
            }
        };
    }

    pub(super) fn refusal(&self, model: &EarlyRejection, attempt: Id) -> Refusal {
        let seats = model.seats_of(attempt);
        let sold_to = |seat: &u8| self.seats[usize::from(*seat)].sold_to;
        let was_sold = |id, other| has_same_key(id, attempt) && matches!(other, Attempt::Sold { .. });
        Refusal {
            seats_were_free: seats.iter().all(|seat| self.is_free(*seat)),
            by_own_sale: seats.iter().filter_map(sold_to).any(|id| has_same_key(id, attempt)),
            after_own_sale: self.among(was_sold) != 0,
            at: self.now,
        }
    }

    pub(super) fn release(&mut self, model: &EarlyRejection, release: Release) {
        let Release { attempt, only_first, free_from } = release;
        let count = if only_first { 1 } else { self.seats.len() };
        for seat in &mut self.seats[..count] {
            if seat.sold_to == Some(attempt) {
                *seat = Seat { sold_to: None, free_from, released: seat.released | 1 << attempt };
            }
        }
        if let Attempt::Sold { released, .. } = &mut self.attempts[attempt] {
            *released = true;
        }
        if model.has(Rule::ReleasesChangeFreedVersion) {
            self.version.freed_version += 1;
        }
    }

    /// The second transaction of a release.
    pub(super) fn finish_release(&mut self, model: &EarlyRejection) {
        for seat in &mut self.seats {
            if seat.free_from == NEVER {
                seat.free_from = self.now + model.free_after();
            }
        }
    }

    /// The database of a backup from before all sales.
    pub(super) fn restore(&mut self, model: &EarlyRejection) {
        let free_from = if model.has(Rule::RestoresRelease) { self.now + FREE_AFTER } else { 0 };
        self.lose_sales(free_from);
        self.version.epoch += 1;
        self.end_sessions();
    }

    /// A standby is promoted.
    pub(super) fn fail_over(&mut self, model: &EarlyRejection) {
        if !model.has(Rule::FailoversKeepCommits) {
            self.lose_sales(0);
        }
        self.version.timeline += 1;
        self.end_sessions();
    }

    /// The state from before all sales, with its versions.
    fn lose_sales(&mut self, free_from: u8) {
        self.seats.fill(Seat { free_from, ..Seat::default() });
        self.unfinished = None;
        self.version = SeatsVersion { freed_version: 0, ..self.version };
        for attempt in &mut self.attempts {
            *attempt = match *attempt {
                Attempt::Sold { version, .. } => Attempt::Lost { sale: Some(version) },
                Attempt::Shared { .. } | Attempt::Rejected { .. } => Attempt::Lost { sale: None },
                other => other,
            };
        }
    }

    fn end_sessions(&mut self) {
        for instance in &mut self.instances {
            instance.session_is_dead = true;
            instance.comparing = None;
        }
    }
}
