//! Rules for the sales: each was requested with exactly its seats, and was reported to its buyer.

use std::collections::{HashMap, HashSet};

use super::context::CheckContext;
use super::refusals::{AttemptsBeforeRefusals, SaleRecord, StoredRefusal};
use super::stored::SaleRow;
use crate::invariant::{Invariant, Violations};
use crate::request_log::RecordedOutcome;

/// The comparison of the sales with the requests, one sale after the other.
pub(super) struct SaleCheck {
    /// The requests that may have had an effect under a ticket that no client knows, by buyer and seats.
    ambiguous: HashMap<(u64, Box<[i32]>), u32>,
    /// The sales of each buyer.
    sales: HashMap<u64, u32>,
    /// The seats that refusals name.
    refused: HashSet<i32>,
    /// The sales of these seats.
    of_refused: Vec<SaleRecord>,
    before_refusals: AttemptsBeforeRefusals,
}

impl SaleCheck {
    /// `refusals` are those that no client has received.
    pub fn new(context: CheckContext<'_>, refusals: &[StoredRefusal]) -> Self {
        let mut ambiguous: HashMap<(u64, Box<[i32]>), u32> = HashMap::new();
        let requests = context.request_log.requests.iter();
        for request in requests.filter(|request| request.is_ambiguous && request.ticket.is_none()) {
            *ambiguous.entry((request.intent.buyer, request.intent.seats.clone())).or_default() += 1;
        }
        let received = context.request_log.refusals().flat_map(|refusal| refusal.seats);
        let refused = received.chain(refusals.iter().flat_map(|refusal| &refusal.seats)).copied().collect();
        let before_refusals = AttemptsBeforeRefusals::of(context);
        Self { ambiguous, sales: HashMap::new(), refused, of_refused: Vec::new(), before_refusals }
    }

    pub fn add(&mut self, context: CheckContext<'_>, sale: &SaleRow, violations: &mut Violations) {
        let buyer = context.buyer(&sale.email);
        let records = sale.seats.iter().filter(|sold| self.refused.contains(&sold.seat));
        self.of_refused.extend(records.map(|sold| SaleRecord::of(context, sale, sold, buyer)));
        let seats: Vec<i32> = sale.seats.iter().map(|sold| sold.seat).collect();
        let Some(buyer) = buyer else {
            if context.header.is_exclusive {
                let what = format!("sale {} belongs to no buyer of this run: {}", sale.id, sale.email);
                violations.add(Invariant::OnlyWhatWasRequested, what);
            }
            return;
        };
        *self.sales.entry(buyer).or_default() += 1;
        let known = context.request_log.request(sale.ticket).and_then(|request| request.intent.key);
        if let Some(key) = known.or_else(|| context.requests_of(buyer).only_key()) {
            self.before_refusals.check((buyer, key), sale, violations);
        }
        self.compare(context, sale, buyer, &seats, violations);
    }

    fn compare(
        &mut self,
        context: CheckContext<'_>,
        sale: &SaleRow,
        buyer: u64,
        seats: &[i32],
        violations: &mut Violations,
    ) {
        let Some(request) = context.request_log.request(sale.ticket) else {
            let ambiguous = self.ambiguous.get_mut(&(buyer, seats.into())).filter(|left| **left > 0);
            match ambiguous {
                // Each such request may have had one effect.
                Some(left) => *left -= 1,
                None if context.request_log.is_complete => {
                    let what =
                        format!("sale {} of seats {seats:?} was not requested by buyer {buyer}", sale.id);
                    violations.add(Invariant::OnlyWhatWasRequested, what);
                }
                None => {}
            }
            return;
        };
        if request.intent.buyer != buyer || *request.intent.seats != *seats {
            let what = format!(
                "sale {} to buyer {buyer} has seats {seats:?}, but buyer {} requested {:?}",
                sale.id, request.intent.buyer, request.intent.seats
            );
            violations.add(Invariant::OnlyWhatWasRequested, what);
        }
        let was_reported = matches!(request.outcome, Some(RecordedOutcome::Sold { sale: reported, .. }) if reported == sale.id);
        if !was_reported && !request.is_ambiguous {
            let what = format!("sale {} of seats {seats:?} was not reported to buyer {buyer}", sale.id);
            violations.add(Invariant::DatabaseAgrees, what);
        }
    }

    /// Checks what can only be known after the last sale. Returns the sales of the seats that refusals name.
    pub fn finish(self, context: CheckContext<'_>, violations: &mut Violations) -> Vec<SaleRecord> {
        if context.request_log.is_complete {
            for (buyer, sales) in self.sales {
                let most = context.requests_of(buyer).sales_max();
                if sales > most {
                    let what = format!(
                        "buyer {buyer} has {sales} sales, but at most {most} requests with an own effect"
                    );
                    violations.add(Invariant::OneEffectPerAttempt, what);
                }
            }
        }
        self.of_refused
    }
}
