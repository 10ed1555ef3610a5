//! What all buyers of a run share, and what a buyer does: ask, and follow the ticket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::books::Books;
use crate::buyers::Cast;
use crate::concert::Hall;
use crate::follow::Follow;
use crate::http::Client;
use crate::journal::Asked;
use crate::meter::Meter;
use crate::wire::{Answer, Outcome, Target, Told, Wish};

pub struct Stage {
    /// The run's name.
    pub run: String,
    pub target: Target,
    /// For bookings, and status polls that are the load.
    pub client: Client,
    /// For those who follow tickets, so that they take no connection from those who book.
    pub followers: Client,
    pub meter: Meter,
    pub books: Arc<Books>,
    pub hall: Hall,
    pub cast: Cast,
    pub follow: Follow,
    /// The share of tickets that is followed while the run lasts.
    pub follow_share: f64,
    /// What the times in the journal count from.
    pub start: Instant,
    /// Cancelled once nobody is to wait any longer.
    pub give_up: CancellationToken,
}

impl Stage {
    /// Books, and measures from when that was due. What comes back is in the books before anybody acts on it.
    pub async fn ask(&self, wish: Wish, due: Instant) -> Answer {
        self.meter.begin(due);
        let key = wish.key(&self.run);
        let reply = self.client.post(self.target.path(), wish.body(&self.run), key.as_deref()).await;
        let took = due.elapsed();
        let answer = reply.map_or_else(|error| Answer::lost(&error), |reply| Answer::read(&reply));
        self.meter.answered(&answer, took);
        let due = micros(due.saturating_duration_since(self.start));
        self.books.asked(Asked { wish, due, took: micros(took), answer: answer.clone() });
        answer
    }

    /// Books, and follows the ticket if this buyer is one of those who do.
    pub async fn book(&self, number: u64, wish: Wish, due: Instant) {
        let answer = self.ask(wish, due).await;
        if let Answer::Accepted { ticket } = answer
            && is_chosen(number, self.follow_share)
        {
            self.follow_to_the_end(ticket, due).await;
        }
    }

    /// How the ticket ends. Nothing, if the run gives up before that.
    pub async fn follow_to_the_end(&self, ticket: Uuid, due: Instant) -> Option<Outcome> {
        self.meter.follows();
        let following = self.follow.to_the_end(&self.followers, ticket);
        let outcome = self.give_up.run_until_cancelled(following).await?;
        self.meter.heard(due.elapsed());
        self.books.told(ticket, outcome.clone());
        Some(outcome)
    }

    /// Asks once where a ticket stands.
    pub async fn poll(&self, ticket: Uuid, due: Instant) {
        self.meter.begin(due);
        let had_ended = self.books.has_ended(ticket);
        let reply = self.client.get(&format!("/ticket-bookings/{ticket}")).await;
        let told = match &reply {
            Ok(reply) => Told::read(reply),
            Err(_) => Told::Nothing,
        };
        let answered = match (&reply, &told) {
            (Err(error), _) => Err(error.kind()),
            (Ok(_), Told::Nothing) => Err("senseless-status"),
            _ => Ok(due.elapsed()),
        };
        self.meter.polled(answered);
        match told {
            Told::Final(outcome) => self.books.told(ticket, outcome),
            // Asked after somebody had been told the end of it.
            Told::Queued if had_ended => self.books.ledger().went_back(ticket, "queued"),
            Told::Unknown => self.books.ledger().went_back(ticket, "unknown"),
            Told::Queued | Told::Nothing => {}
        }
    }
}

/// Whether the buyer of this number is one of the `share` that is chosen, evenly over all.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 buyers")]
fn is_chosen(number: u64, share: f64) -> bool {
    let chosen_before = |n: u64| (n as f64 * share).floor();
    chosen_before(number + 1) > chosen_before(number)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What each buyer does has the stage for as long as it takes.
pub type SharedStage = Arc<Stage>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_are_as_many_as_the_share_says() {
        for (share, expected) in [(0.0, 0), (0.01, 10), (0.25, 250), (1.0, 1_000)] {
            let chosen = (0..1_000).filter(|number| is_chosen(*number, share)).count();
            assert_eq!(chosen, expected, "{share}");
        }
    }
}
