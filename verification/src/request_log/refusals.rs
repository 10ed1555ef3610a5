//! The seats that refusals name, in one list for all requests: most refusals name one or two seats.

use super::{Request, RequestLog};
use crate::invariant::Invariant;

#[derive(Default)]
pub(super) struct Refusals {
    requests: Vec<NamedSeats>,
    seats: Vec<i32>,
}

/// The seats that the refusal of a request names: in [`Refusals::seats`], from the end of the previous entry.
struct NamedSeats {
    request: u32,
    end: u32,
}

/// A request that was refused because of taken seats.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    /// The number of the request.
    pub number: usize,
    pub request: &'a Request,
    /// The seats that the refusal names.
    pub seats: &'a [i32],
}

impl Refusals {
    fn add(&mut self, request: usize, seats: &[i32]) {
        self.seats.extend(seats);
        let compact = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.requests.push(NamedSeats { request: compact(request), end: compact(self.seats.len()) });
    }

    pub(super) fn iter<'a>(&'a self, requests: &'a [Request]) -> impl Iterator<Item = Refusal<'a>> {
        let mut begin = 0;
        self.requests.iter().map(move |named| {
            let (number, end) = (named.request as usize, named.end as usize);
            let seats = &self.seats[begin..end];
            begin = end;
            Refusal { number, request: &requests[number], seats }
        })
    }
}

impl RequestLog {
    /// Records the seats that the refusal of this request names. It may only name requested seats.
    pub(super) fn record_refusal(&mut self, number: usize, taken: &[i32]) {
        if taken.is_empty() {
            return;
        }
        self.refusals.add(number, taken);
        let requested = &self.requests[number].intent.seats;
        if let Some(seat) = taken.iter().find(|seat| !requested.contains(seat)) {
            let what =
                format!("{} was refused because of seat {seat}, which it did not request", self.name(number));
            self.violations.add(Invariant::RefusalsAreTrue, what);
        }
    }
}
