//! The proof of refusals: a seat that a refusal names as taken was sold when the refusal was sent.
//!
//! A refusal names seats. For each of them there must be a sale that
//! - is committed when the response is received,
//! - does not end (the seat is free again) before the request is sent,
//! - and does not belong to a request under the same idempotency key: a retry is never refused because of its own sale.
//!
//! # Times
//!
//! Requests have times by the client's clock, and sales by the database's. [`ClockBounds`] converts one into the other
//! with a known error. A sale's `created_at` is taken within its transaction and therefore only a lower bound of its
//! commit: a sale that is created after a refusal was received cannot have caused it, but one that was created before
//! and committed after goes undetected. If Postgres records commit times (`track_commit_timestamp`), they are used
//! instead, and the bound is exact. The workers and the api take times from their own estimate of the database's clock,
//! hence [`RunFacts::server_clock_error`](super::RunFacts).
//!
//! A refusal without a ticket was decided when it was sent, so these times are those of its own request. A refusal with a ticket may
//! be that of the first request under its key, which a retry shares. A key that was refused without a ticket must not be sold to
//! an attempt that was accepted before: see [`AttemptsBeforeRefusals`].
//!
//! A released seat stays closed for a while: a retry that is sent just after a release must not be refused while its first
//! attempt, sent just before, is sold. The release says from which time on the seat is free. Until then it may be refused.
//!
//! Without a database, only what clients know is checked: a seat that a refusal names is in a booking at the end, or was
//! sold before the run, or may have been bought by a request without a response.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hamro_shared::domain::TicketId;
use uuid::Uuid;

use super::context::CheckContext;
use super::stored::{BookingRow, SaleRow, SeatRelease, SoldSeat};
use crate::contract::names_taken_seats;
use crate::database_clock::ClockBounds;
use crate::invariant::{Invariant, Violations};
use crate::request_log::{RecordedOutcome, Refusal, Request};

/// The sale of a seat that some refusal names. Times are by the database's clock, in microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleRecord {
    pub seat: i32,
    pub sale: i64,
    /// The buyer and the number of the idempotency key, if there is one and it is known.
    pub key: Option<(u64, u32)>,
    /// It was not committed before this time.
    pub committed_from: i64,
    /// From this time on, the seat was free again.
    pub free_from: Option<i64>,
}

impl SaleRecord {
    pub(super) fn of(context: CheckContext<'_>, sale: &SaleRow, sold: &SoldSeat, buyer: Option<u64>) -> Self {
        let error = context.facts.server_clock_error;
        let by_only_key = || Some((buyer?, context.requests_of(buyer?).only_key()?));
        let key = context.request_log.request(sale.ticket).map_or_else(by_only_key, Request::key);
        // The errors count in favour of the system.
        let free_from = sold.release.map(|SeatRelease { free_from, committed_at }| {
            free_from.saturating_add(micros(error)).max(committed_at.unwrap_or(i64::MIN))
        });
        let created_at = sale.created_at.saturating_sub(micros(error));
        let committed_from = sale.committed_at.unwrap_or(created_at);
        Self { seat: sold.seat, sale: sale.id, key, committed_from, free_from }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// A stored rejection because of taken seats that no client has received.
#[derive(Clone, Debug)]
pub(super) struct StoredRefusal {
    ticket: Uuid,
    key: Option<(u64, u32)>,
    pub seats: Vec<i32>,
    settled_at: i64,
}

impl StoredRefusal {
    pub fn of(row: &BookingRow, key: Option<(u64, u32)>) -> Self {
        Self { ticket: row.ticket, key, seats: row.rejected_seats.clone(), settled_at: row.settled_at }
    }
}

/// The time of a refusal by the database's clock, with its error.
struct Window {
    /// The earliest time at which the request can have been sent.
    sent_from: i64,
    /// The latest time at which it can have been decided.
    decided_until: i64,
}

impl Window {
    /// `sent` is when the first request under the key was sent.
    fn of(refusal: &Refusal<'_>, sent: u64, clock: ClockBounds, error: Duration) -> Self {
        let received = refusal.request.reported_at().map(|received| clock.database_latest(received));
        let settled = refusal.request.outcome.and_then(RecordedOutcome::settled_at);
        let settled = settled.map(|settled_at| settled_by(settled_at, error));
        let decided_until = [received, settled].into_iter().flatten().min().unwrap_or(i64::MAX);
        Self { sent_from: clock.database_earliest(sent), decided_until }
    }

    fn of_stored(refusal: &StoredRefusal, error: Duration) -> Self {
        let issued_at = TicketId(refusal.ticket).issued_at().unix_millis().saturating_mul(1_000);
        let sent_from = issued_at.saturating_sub(micros(error));
        Self { sent_from, decided_until: settled_by(refusal.settled_at, error) }
    }
}

/// The latest time at which a ticket with this time of settlement, in milliseconds, can have been decided.
fn settled_by(settled_at: i64, error: Duration) -> i64 {
    let end_of_millisecond = settled_at.saturating_add(1).saturating_mul(1_000);
    end_of_millisecond.saturating_add(micros(error))
}

/// Checks each seat that a refusal names against the sales of that seat.
pub(super) fn compare_with_sales(
    context: CheckContext<'_>,
    not_received: &[StoredRefusal],
    sales: &[SaleRecord],
    violations: &mut Violations,
) {
    let mut of_seat: HashMap<i32, Vec<&SaleRecord>> = HashMap::new();
    for sale in sales {
        of_seat.entry(sale.seat).or_default().push(sale);
    }
    let mut check = |key, seats: &[i32], window: Option<&Window>, name: &dyn Fn() -> String| {
        for seat in seats {
            let sales = of_seat.get(seat).map(Vec::as_slice).unwrap_or_default();
            if let Some(reason) = why_false(key, sales, window) {
                let what = format!("{} was refused seat {seat}, but {reason}", name());
                violations.add(Invariant::RefusalsAreTrue, what);
            }
        }
    };
    let clock = ClockBounds::of(&context.request_log.clock_readings);
    let (first_sent, error) = (first_sent(context), context.facts.server_clock_error);
    for refusal in context.request_log.refusals() {
        let shared_key = refusal.request.key().filter(|_| refusal.request.ticket.is_some());
        let sent = shared_key.and_then(|key| first_sent.get(&key)).unwrap_or(&refusal.request.sent);
        let window = clock.map(|clock| Window::of(&refusal, *sent, clock, error));
        let name = || context.request_log.name(refusal.number);
        check(refusal.request.key(), refusal.seats, window.as_ref(), &name);
    }
    for refusal in not_received {
        let name = || format!("ticket {}", refusal.ticket);
        check(refusal.key, &refusal.seats, Some(&Window::of_stored(refusal, error)), &name);
    }
}

/// When the last request of each booking was sent that was refused without a ticket. No attempt that was accepted before may be
/// sold: its client has given it up. One that was still on its way is a new attempt. A request of other seats under the same key
/// is another booking.
pub(super) struct AttemptsBeforeRefusals {
    refused: HashMap<KeyedBooking, u64>,
    clock: Option<ClockBounds>,
    error: Duration,
}

/// The buyer, the number of the idempotency key, and the seats in the order of their ids.
#[derive(PartialEq, Eq, Hash)]
struct KeyedBooking((u64, u32), Vec<i32>);

impl KeyedBooking {
    fn of(key: (u64, u32), seats: impl IntoIterator<Item = i32>) -> Self {
        let mut seats: Vec<i32> = seats.into_iter().collect();
        seats.sort_unstable();
        Self(key, seats)
    }
}

impl AttemptsBeforeRefusals {
    pub fn of(context: CheckContext<'_>) -> Self {
        let mut refused: HashMap<KeyedBooking, u64> = HashMap::new();
        for refusal in context.request_log.refusals().filter(|refusal| refusal.request.ticket.is_none()) {
            if let Some(key) = refusal.request.key() {
                let seats = refusal.request.intent.seats.iter().copied();
                let last = refused.entry(KeyedBooking::of(key, seats)).or_default();
                *last = refusal.request.sent.max(*last);
            }
        }
        let clock = ClockBounds::of(&context.request_log.clock_readings);
        Self { refused, clock, error: context.facts.server_clock_error }
    }

    /// Checks a sale under this key.
    pub fn check(&self, key: (u64, u32), sale: &SaleRow, violations: &mut Violations) {
        let booking = KeyedBooking::of(key, sale.seats.iter().map(|sold| sold.seat));
        let (Some(refused), Some(clock)) = (self.refused.get(&booking), self.clock) else { return };
        let issued_at = settled_by(TicketId(sale.ticket).issued_at().unix_millis(), self.error);
        let before = clock.database_earliest(*refused).saturating_sub(issued_at);
        if before > 0 {
            let what = format!(
                "sale {} is of an attempt that was accepted at least {before} us before buyer {} was refused without a ticket \
                 under the same key",
                sale.id, key.0
            );
            violations.add(Invariant::OneOutcomePerKey, what);
        }
    }
}

/// When the first request under each refused key was sent. A retry shares the rejection of the first request, even if the
/// seat is free again by then.
fn first_sent(context: CheckContext<'_>) -> HashMap<(u64, u32), u64> {
    let keys = context.request_log.refusals().filter_map(|refusal| refusal.request.key());
    let mut first_sent: HashMap<(u64, u32), u64> = keys.map(|key| (key, u64::MAX)).collect();
    for request in &context.request_log.requests {
        if let Some(first) = request.key().and_then(|key| first_sent.get_mut(&key)) {
            *first = request.sent.min(*first);
        }
    }
    first_sent
}

/// Why none of the sales of a seat justifies a refusal. `None` if one does.
fn why_false(key: Option<(u64, u32)>, sales: &[&SaleRecord], window: Option<&Window>) -> Option<String> {
    let mut reason = "it was never sold".to_owned();
    for SaleRecord { sale, key: own, committed_from, free_from, .. } in sales {
        let after_refusal = window.map(|window| committed_from.saturating_sub(window.decided_until));
        let free_before = window.and_then(|window| Some(window.sent_from.saturating_sub((*free_from)?)));
        reason = match (after_refusal, free_before) {
            _ if key.is_some() && key == *own => format!("sale {sale} belongs to the same idempotency key"),
            (Some(late @ 1..), _) => {
                format!("sale {sale} was committed at least {late} us after the refusal")
            }
            (_, Some(free @ 1..)) => {
                format!("it had been free for at least {free} us, since sale {sale} was released")
            }
            _ => return None,
        };
    }
    Some(reason)
}

/// Checks the refusals against what clients know. `sold` are the confirmed seats.
pub(super) fn compare_with_responses(
    context: CheckContext<'_>,
    sold: &HashMap<i32, i64>,
    violations: &mut Violations,
) {
    let CheckContext { request_log, header, .. } = context;
    own_sale_is_no_reason(context, violations);
    // Otherwise other buyers may have bought any seat.
    if !header.is_exclusive || !request_log.is_complete {
        return;
    }
    let requests = &request_log.requests;
    let before: HashSet<i32> =
        header.concerts.iter().flat_map(|concert| &concert.sold_before).copied().collect();
    let ambiguous = requests.iter().filter(|request| request.may_have_effect());
    let may_be_sold: HashSet<i32> = ambiguous.flat_map(|request| &request.intent.seats).copied().collect();
    let is_taken =
        |seat: &i32| sold.contains_key(seat) || before.contains(seat) || may_be_sold.contains(seat);
    let mut names_seats = vec![false; requests.len()];
    for refusal in request_log.refusals() {
        names_seats[refusal.number] = true;
        if let Some(seat) = refusal.seats.iter().find(|seat| !is_taken(seat)) {
            let what = format!(
                "{} was refused seat {seat}, but it was never sold",
                request_log.name(refusal.number)
            );
            violations.add(Invariant::RefusalsAreTrue, what);
        }
    }
    for (number, request) in requests.iter().enumerate().filter(|(number, _)| !names_seats[*number]) {
        let Some(RecordedOutcome::NotSold { kind, .. }) = request.outcome else { continue };
        let code = request_log.not_sold(kind).code.as_deref().unwrap_or_default();
        let what = if names_taken_seats(code) && header.records_taken_seats() {
            format!("{} was refused ({code}), but no seat was named", request_log.name(number))
        } else if (names_taken_seats(code) || code == "http-409")
            && !request.intent.seats.iter().any(is_taken)
        {
            // The earlier system names no seats.
            let seats = &request.intent.seats;
            format!("{} was refused seats {seats:?}, but none of them is sold", request_log.name(number))
        } else {
            continue;
        };
        violations.add(Invariant::RefusalsAreTrue, what);
    }
}

/// No request is refused a seat that is sold under its own idempotency key.
fn own_sale_is_no_reason(context: CheckContext<'_>, violations: &mut Violations) {
    let request_log = context.request_log;
    let refused: HashSet<i32> = request_log.refusals().flat_map(|refusal| refusal.seats).copied().collect();
    let mut keys: HashMap<i32, HashSet<Option<(u64, u32)>>> = HashMap::new();
    for request in &request_log.requests {
        if let Some(RecordedOutcome::Sold { .. }) = request.outcome {
            for seat in request.intent.seats.iter().filter(|seat| refused.contains(seat)) {
                keys.entry(*seat).or_default().insert(request.key());
            }
        }
    }
    for refusal in request_log.refusals().filter(|refusal| refusal.request.key().is_some()) {
        let own = HashSet::from([refusal.request.key()]);
        if let Some(seat) = refusal.seats.iter().find(|seat| keys.get(seat) == Some(&own)) {
            let name = request_log.name(refusal.number);
            let what =
                format!("{name} was refused seat {seat}, but it is sold under the same idempotency key");
            violations.add(Invariant::RefusalsAreTrue, what);
        }
    }
}
