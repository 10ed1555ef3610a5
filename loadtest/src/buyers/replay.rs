//! Clients that repeat their request under the same idempotency key.

use std::time::Instant;

use futures_util::future::join;

use super::Workload;
use crate::run_context::RunContext;
use hamro_verification::contract::BookingIntent;

/// One in this many buyers sends other seats under the same key the last time.
const CHANGES_SEATS: u64 = 20;

impl Workload {
    /// Sends the request twice concurrently, and once more after the response.
    pub(super) async fn book_repeatedly(&self, context: &RunContext, number: u64, due: Instant) {
        let intent = self.seat_choice.of(number, &context.seat_pool);
        let last = BookingIntent { seats: self.last_seats(context, number, &intent), ..intent.clone() };
        let duplicate = intent.clone();
        join(context.book_and_follow(number, intent, due), context.book(duplicate, due)).await;
        context.book(last, Instant::now()).await;
    }

    fn last_seats(&self, context: &RunContext, number: u64, intent: &BookingIntent) -> Box<[i32]> {
        if number.is_multiple_of(CHANGES_SEATS) && number > 0 {
            self.seat_choice.of(number - 1, &context.seat_pool).seats
        } else {
            intent.seats.clone()
        }
    }
}
