//! Waiting for the end of all tickets.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hamro_shared::backoff::Backoff;
use uuid::Uuid;

use crate::books::Books;
use crate::follow::Follow;
use crate::instance::{Instance, Standing};
use crate::wire::Told;

/// So many tickets are asked for at a time.
const AT_ONCE: usize = 64;
/// So many of the tickets that were handed out last are waited for before all are asked for.
const LAST: usize = 8;

/// Waits until the last tickets have ended, with next to no load: asking for all of them while the queue is worked off
/// would slow down what is measured. The queue is not in strict order, so others may still be on their way.
pub async fn drain(books: &Books, instance: &Instance, deadline: Instant) {
    let mut last = books.ledger().tickets();
    last.retain(|ticket| books.ledger().is_promised(*ticket));
    // Tickets sort by the time they were issued.
    last.sort_unstable_by(|a, b| b.cmp(a));
    last.truncate(LAST);
    for ticket in last {
        let waiting = Follow::Wait.to_the_end(instance, books, ticket);
        if tokio::time::timeout_at(deadline.into(), waiting).await.is_err() {
            return;
        }
    }
}

/// Asks for every ticket, also for those that have been told to have ended, and again for those that have not, until all
/// have or the deadline is there. Every instance is asked for its share of them, and for another share the next time.
/// `progress` hears how many have been asked for.
pub async fn follow_all(books: &Books, instances: &[Instance], deadline: Instant, progress: impl Fn(u64)) {
    let mut tickets = books.ledger().tickets();
    tickets.sort_unstable();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for round in 0.. {
        let mut left = Vec::new();
        let mut asking = stream::iter(tickets.into_iter().enumerate())
            .map(|(number, ticket)| ask(books, &instances[(number + round) % instances.len()], ticket))
            .buffer_unordered(AT_ONCE);
        let mut asked = 0;
        while let Some((ticket, is_over)) = asking.next().await {
            asked += 1;
            progress(asked);
            if !is_over && books.ledger().is_promised(ticket) {
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

/// Returns whether there is nothing more to wait for.
async fn ask(books: &Books, instance: &Instance, ticket: Uuid) -> (Uuid, bool) {
    let Ok(Standing { told, read, .. }) = instance.ask(books, ticket, "").await else {
        return (ticket, false);
    };
    let may_be = books.told(ticket, &told, read);
    let is_over = match told {
        Told::Final(_) => true,
        // If that may not be, no patience brings it back.
        Told::Queued => !may_be,
        Told::Unknown => {
            books.is_unknown(ticket, read);
            true
        }
        Told::Nothing => false,
    };
    (ticket, is_over)
}
