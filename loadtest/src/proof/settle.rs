//! Waiting for the end of all tickets.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hamro_shared::backoff::Backoff;
use uuid::Uuid;

use crate::books::Books;
use crate::follow::Follow;
use crate::http::Client;
use crate::wire::Told;

/// So many tickets are asked for at a time.
const AT_ONCE: usize = 64;
/// So many of the tickets that were handed out last are waited for before all are asked for.
const LAST: usize = 8;

/// Waits until the last tickets have ended, with next to no load: asking for all of them while the queue is worked off
/// would slow down what is measured. The queue is not in strict order, so others may still be on their way.
pub async fn drain(books: &Books, client: &Client, deadline: Instant) {
    let mut last = books.ledger().tickets();
    last.retain(|ticket| books.ledger().is_promised(*ticket));
    // Tickets sort by the time they were issued.
    last.sort_unstable_by(|a, b| b.cmp(a));
    last.truncate(LAST);
    for ticket in last {
        let waiting = Follow::Wait.to_the_end(client, ticket);
        match tokio::time::timeout_at(deadline.into(), waiting).await {
            Ok(outcome) => books.told(ticket, outcome),
            Err(_) => return,
        }
    }
}

/// Asks for every ticket, also for those that have been told to have ended, and again for those that have not, until all
/// have or the deadline is there. `progress` hears how many have been asked for.
pub async fn follow_all(books: &Books, client: &Client, deadline: Instant, progress: impl Fn(u64)) {
    let mut tickets = books.ledger().tickets();
    tickets.sort_unstable();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        let mut left = Vec::new();
        let mut asking =
            stream::iter(tickets).map(|ticket| ask(books, client, ticket)).buffer_unordered(AT_ONCE);
        let mut asked = 0;
        while let Some((ticket, is_final)) = asking.next().await {
            asked += 1;
            progress(asked);
            if !is_final && books.ledger().is_promised(ticket) {
                left.push(ticket);
            }
        }
        drop(asking);
        if left.is_empty() || Instant::now() >= deadline {
            return;
        }
        backoff.pause().await;
        tickets = left;
    }
}

async fn ask(books: &Books, client: &Client, ticket: Uuid) -> (Uuid, bool) {
    let was_final = books.has_ended(ticket);
    let told = match client.get(&format!("/ticket-bookings/{ticket}")).await {
        Ok(reply) => Told::read(&reply),
        Err(_) => Told::Nothing,
    };
    let is_final = match told {
        Told::Final(outcome) => {
            books.told(ticket, outcome);
            true
        }
        Told::Queued => {
            if was_final {
                books.ledger().went_back(ticket, "queued");
            }
            was_final
        }
        // No patience brings it back.
        Told::Unknown => {
            books.ledger().went_back(ticket, "unknown");
            true
        }
        Told::Nothing => false,
    };
    (ticket, is_final)
}
