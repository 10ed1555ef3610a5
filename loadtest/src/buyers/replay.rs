//! Clients that do not trust the line, and send again under the same key.

use std::time::Instant;

use futures_util::future::join;

use crate::stage::Stage;
use crate::wire::Wish;

/// One buyer of so many comes the last time with another wish under the same key.
const CHANGES_MIND: u64 = 20;

/// Twice at the same moment, and once again after the first answer.
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
