//! Checks the system's guarantees, from what clients were told and from the final state of database and broker.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use hamro_shared::domain::TicketId;
use uuid::Uuid;

use crate::deployment::DRAIN_MARKER;
use crate::evidence::{Evidence, Settled};
use crate::journal::{Entry, Standing, Way, Wish};
use crate::status_read::StatusRead;

mod final_status;

pub use final_status::{Reads, count_reads};

/// A guarantee of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every ticket returned with a 202 gets a final status, and its client can read it.
    EveryTicketEnds,
    /// A final status never changes, neither between two status reads nor between a read and the final state. The
    /// instance that reported it reports it from then on; another instance may respond with `queued` for up to one
    /// second longer.
    FinalStatusStands,
    /// Every outcome belongs to a request, and a sale has exactly the requested seats.
    NothingUnasked,
    /// Each attempt has at most one effect, even if it was refused or its connection broke.
    OneEffectPerTry,
    /// All attempts under one idempotency key have the same outcome.
    OneOutcomePerKey,
    /// Tickets are confirmed or rejected before their deadline, and expire only after it.
    DeadlinesHold,
    /// A seat that a rejection reports as taken is sold to another customer.
    NoFalseRefusal,
    /// No seat is in two live sales. Live sales, sold seats and the counters of the tiers agree.
    BooksBalance,
    /// Transactions never deadlock.
    NoDeadlock,
    /// No transaction, and therefore no lock, is left open.
    NothingLeftOpen,
    /// No message is left in any queue.
    NothingLeftQueued,
    /// There is one dead letter for each booking that could not be processed, and no other.
    DeadLettersAddUp,
    /// A booking that is sent after the fault is settled within the stated time.
    Recovers,
}

/// A broken guarantee, with details.
#[derive(Clone, Debug)]
pub struct Violation {
    pub broken: Promise,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.broken, self.detail)
    }
}

/// The expectations of a test.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long after its issue a ticket may be sold.
    pub deadline: Duration,
    /// The same for the waiting endpoint.
    pub wait: Duration,
    /// The longest that a new booking may take to be settled after the fault.
    pub recovery: Duration,
    /// The number of bookings that cannot be processed.
    pub dead_letters: i64,
}

/// Returns all broken guarantees.
pub fn check(evidence: &Evidence, terms: &Terms) -> Vec<Violation> {
    let mut case = Case::of(evidence, terms);
    case.tickets_end();
    case.final_status_stands();
    case.final_status_is_not_taken_back();
    case.rows_were_asked_for();
    case.sales_were_asked_for();
    case.keys_have_one_outcome();
    case.deadlines_hold();
    case.refusals_are_true();
    case.servers_are_left_clean();
    case.violations
}

/// The evidence, indexed.
struct Case<'a> {
    evidence: &'a Evidence,
    terms: &'a Terms,
    /// By customer.
    wishes: HashMap<&'a str, Asked<'a>>,
    /// The tickets that clients know.
    tickets: BTreeMap<Uuid, Story<'a>>,
    settled: HashMap<Uuid, &'a Settled>,
    violations: Vec<Violation>,
}

/// A booking that a client wants, and its attempts.
struct Asked<'a> {
    wish: &'a Wish,
    tries: usize,
    /// Attempts whose ticket the client does not know.
    without_ticket: usize,
}

/// What clients know about a ticket.
struct Story<'a> {
    is_accepted: bool,
    seen: Vec<(&'a Standing, &'a StatusRead)>,
}

impl<'a> Case<'a> {
    fn of(evidence: &'a Evidence, terms: &'a Terms) -> Self {
        let mut customers: HashMap<u64, &str> = HashMap::new();
        let mut wishes: HashMap<&str, Asked<'_>> = HashMap::new();
        let mut tickets: BTreeMap<Uuid, Story<'_>> = BTreeMap::new();
        for entry in &evidence.journal {
            match entry {
                Entry::Asked { attempt, wish } => {
                    customers.insert(*attempt, &wish.customer);
                    let asked = Asked { wish, tries: 0, without_ticket: 0 };
                    let asked = wishes.entry(&wish.customer).or_insert(asked);
                    asked.tries += 1;
                    asked.without_ticket += 1;
                }
                Entry::Answered { attempt, status, ticket: Some(ticket) } => {
                    let story = Story { is_accepted: *status == 202, seen: Vec::new() };
                    tickets.entry(*ticket).or_insert(story);
                    if let Some(asked) = customers.get(attempt).and_then(|name| wishes.get_mut(name)) {
                        asked.without_ticket = asked.without_ticket.saturating_sub(1);
                    }
                }
                Entry::Seen { ticket, standing, read } => {
                    let story = Story { is_accepted: false, seen: Vec::new() };
                    tickets.entry(*ticket).or_insert(story).seen.push((standing, read));
                }
                Entry::Answered { .. } | Entry::BrokenOff { .. } => {}
            }
        }
        let settled = evidence.bookings.iter().map(|settled| (settled.ticket, settled)).collect();
        Self { evidence, terms, wishes, tickets, settled, violations: Vec::new() }
    }

    fn tickets_end(&mut self) {
        for (ticket, story) in &self.tickets {
            if story.is_accepted && !story.seen.iter().any(|(standing, _)| standing.is_final()) {
                let row = self.settled.get(ticket).map(|settled| &settled.standing);
                let detail =
                    format!("{ticket} was accepted, but no client saw a final status; its row: {row:?}");
                self.violations.push(Violation { broken: Promise::EveryTicketEnds, detail });
            }
        }
    }

    fn rows_were_asked_for(&mut self) {
        let mut unreported: BTreeMap<&str, usize> = BTreeMap::new();
        let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
        let mut nameless = 0;
        for settled in &self.evidence.bookings {
            let is_told = self.tickets.contains_key(&settled.ticket);
            match settled.customer.as_deref() {
                Some(DRAIN_MARKER) => {}
                Some(customer) => {
                    *rows.entry(customer).or_default() += 1;
                    *unreported.entry(customer).or_default() += usize::from(!is_told);
                }
                // A fence inserted without the booking has no customer.
                None => nameless += usize::from(!is_told),
            }
        }
        for (customer, unreported) in unreported {
            let (tries, without_ticket) =
                self.wishes.get(customer).map_or((0, 0), |asked| (asked.tries, asked.without_ticket));
            if unreported > without_ticket {
                let detail = format!(
                    "{customer} has {unreported} outcomes under unknown tickets, but {without_ticket} attempts without a ticket"
                );
                self.violations.push(Violation { broken: Promise::NothingUnasked, detail });
            }
            if rows[customer] > tries {
                let detail = format!("{customer} made {tries} attempts and has {} outcomes", rows[customer]);
                self.violations.push(Violation { broken: Promise::OneEffectPerTry, detail });
            }
        }
        let waiting = self.wishes.values().filter(|asked| asked.wish.way == Way::Wait);
        if nameless > waiting.map(|asked| asked.without_ticket).sum() {
            let detail = format!("{nameless} fenced tickets belong to no request");
            self.violations.push(Violation { broken: Promise::NothingUnasked, detail });
        }
    }

    fn sales_were_asked_for(&mut self) {
        let mut sales: BTreeMap<&str, usize> = BTreeMap::new();
        for sale in &self.evidence.sales {
            *sales.entry(&sale.customer).or_default() += 1;
            let wanted = self.wishes.get(sale.customer.as_str()).map(|asked| &asked.wish.seats);
            if wanted != Some(&sale.seats) {
                let detail = format!(
                    "sale {} to {} has seats {:?}, not {wanted:?}",
                    sale.id, sale.customer, sale.seats
                );
                self.violations.push(Violation { broken: Promise::NothingUnasked, detail });
            }
        }
        for (customer, sales) in sales {
            let Some(asked) = self.wishes.get(customer) else { continue };
            let most = if asked.wish.key.is_some() { 1 } else { asked.tries };
            if sales > most {
                let detail = format!("{customer} has {sales} sales");
                self.violations.push(Violation { broken: Promise::OneEffectPerTry, detail });
            }
        }
    }

    fn keys_have_one_outcome(&mut self) {
        let mut decided: BTreeMap<&str, BTreeSet<&Standing>> = BTreeMap::new();
        for settled in &self.evidence.bookings {
            // An expired or failed booking does not hold its key, so the next attempt is a new booking.
            if let Some(customer) = settled.customer.as_deref()
                && ["confirmed", "rejected"].contains(&settled.standing.status.as_str())
                && self.wishes.get(customer).is_some_and(|asked| asked.wish.key.is_some())
            {
                decided.entry(customer).or_default().insert(&settled.standing);
            }
        }
        for (customer, outcomes) in decided.into_iter().filter(|(_, outcomes)| outcomes.len() > 1) {
            let detail = format!("{customer} has different outcomes under one key: {outcomes:?}");
            self.violations.push(Violation { broken: Promise::OneOutcomePerKey, detail });
        }
    }

    fn deadlines_hold(&mut self) {
        for settled in &self.evidence.bookings {
            let asked = settled.customer.as_deref().and_then(|customer| self.wishes.get(customer));
            let Some(asked) = asked else { continue };
            let deadline = if asked.wish.way == Way::Wait { self.terms.wait } else { self.terms.deadline };
            let deadline = (TicketId(settled.ticket).issued_at() + deadline).unix_millis();
            let is_late = settled.settled_at_millis > deadline;
            let (ticket, status) = (settled.ticket, &settled.standing.status);
            let detail = match status.as_str() {
                "confirmed" | "rejected" if is_late => format!("{ticket} was {status} after its deadline"),
                "expired" if !is_late => format!("{ticket} expired before its deadline"),
                _ => continue,
            };
            self.violations.push(Violation { broken: Promise::DeadlinesHold, detail });
        }
    }

    fn refusals_are_true(&mut self) {
        let sales = self.evidence.sales.iter();
        let owners: HashMap<i64, &str> =
            sales.flat_map(|sale| sale.seats.iter().map(|seat| (*seat, sale.customer.as_str()))).collect();
        for settled in &self.evidence.bookings {
            let customer = settled.customer.as_deref().unwrap_or_default();
            let has_key = self.wishes.get(customer).is_some_and(|asked| asked.wish.key.is_some());
            for seat in &settled.taken {
                let owner = owners.get(seat).copied();
                // Without a key, a second attempt may find the seat sold to the same customer.
                if owner.is_none() || has_key && owner == Some(customer) {
                    let detail =
                        format!("{customer} was told that seat {seat} is taken; its owner is {owner:?}");
                    self.violations.push(Violation { broken: Promise::NoFalseRefusal, detail });
                }
            }
        }
    }

    fn servers_are_left_clean(&mut self) {
        let Evidence { deadlocks, dead_letters, forgotten_transactions, recovery, .. } = self.evidence;
        let imbalances = self.evidence.imbalances.iter().map(|rule| (Promise::BooksBalance, rule.clone()));
        let left = self.evidence.left.iter().map(|(queue, messages)| {
            (Promise::NothingLeftQueued, format!("{queue} still has {messages} messages"))
        });
        let mut found: Vec<(Promise, String)> = imbalances.chain(left).collect();
        if *deadlocks > 0 {
            found.push((Promise::NoDeadlock, format!("{deadlocks} deadlocks")));
        }
        if *forgotten_transactions > 0 {
            let detail = format!("{forgotten_transactions} transactions are still open");
            found.push((Promise::NothingLeftOpen, detail));
        }
        if *dead_letters != self.terms.dead_letters {
            let detail = format!("{dead_letters} dead letters instead of {}", self.terms.dead_letters);
            found.push((Promise::DeadLettersAddUp, detail));
        }
        if *recovery > self.terms.recovery {
            let detail = format!("a new booking was settled only {recovery:?} after the fault");
            found.push((Promise::Recovers, detail));
        }
        self.violations.extend(found.into_iter().map(|(broken, detail)| Violation { broken, detail }));
    }
}

#[cfg(test)]
mod tests;
