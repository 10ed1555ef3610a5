//! Clients that repeat their request under the same idempotency key.

use std::time::Instant;

use futures_util::future::join;

use crate::stage::Stage;
use crate::wire::Wish;

/// One in this many buyers sends other seats under the same key the last time.
const CHANGES_MIND: u64 = 20;

/// Sends the request twice concurrently, and once more after the response.
pub async fn arrive(stage: &Stage, number: u64, due: Instant) {
    let wish = stage.cast.wishes.of(number, &stage.hall);
    let again = Wish { seats: last_seats(stage, number, &wish), ..wish.clone() };
    let twice = async {
        let twin = wish.clone();
        join(stage.book(number, wish, due), stage.ask(twin, due)).await;
    };
    twice.await;
    stage.ask(again, Instant::now()).await;
}

fn last_seats(stage: &Stage, number: u64, wish: &Wish) -> Box<[i32]> {
    if number.is_multiple_of(CHANGES_MIND) && number > 0 {
        stage.cast.wishes.of(number - 1, &stage.hall).seats
    } else {
        wish.seats.clone()
    }
}
