//! The shared state of a run, and the steps of a buyer: book, and follow the ticket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::books::Books;
use crate::buyers::Cast;
use crate::concert::Hall;
use crate::follow::Follow;
use crate::http::Client;
use crate::instance::{Instance, Standing};
use crate::journal::Asked;
use crate::meter::Meter;
use crate::status_read::{LAG_ALLOWED, StatusRead};
use crate::wire::{Answer, Outcome, Target, Told, Wish};

/// The share of followers that read the final status again.
const READ_AGAIN_SHARE: f64 = 0.1;
/// Delay before the last of these reads. By then every instance must report the status.
const READ_AGAIN_AFTER: Duration = LAG_ALLOWED.saturating_add(Duration::from_millis(100));

pub struct Stage {
    /// The run's name.
    pub run: String,
    pub target: Target,
    /// For bookings, and for polls that are part of the load.
    pub client: Client,
    /// For following tickets, with separate connections.
    pub followers: Client,
    /// The instances that statuses are read from. Bookings are sent to the first.
    pub instances: Vec<Instance>,
    pub meter: Meter,
    pub books: Arc<Books>,
    pub hall: Hall,
    pub cast: Cast,
    pub follow: Follow,
    /// The share of tickets that is followed during the run.
    pub follow_share: f64,
    /// Origin of the times in the journal.
    pub start: Instant,
    /// Cancelled when followers must stop waiting.
    pub give_up: CancellationToken,
}

impl Stage {
    /// Sends a booking, and measures from its due time. The response is recorded before the caller acts on it.
    pub async fn ask(&self, wish: Wish, due: Instant) -> Answer {
        self.meter.begin(due);
        let key = wish.key(&self.run);
        let reply = self.client.post(self.target.path(), wish.body(&self.run), key.as_deref()).await;
        let answered = Instant::now();
        let answer = reply.map_or_else(|error| Answer::lost(&error), |reply| Answer::read(&reply));
        self.meter.answered(&answer, answered.saturating_duration_since(due));
        let StatusRead { sent: due, took, .. } = self.books.status_read(0, due, answered);
        self.books.asked(Asked { wish, due, took, answer: answer.clone() });
        answer
    }

    /// Books, and follows the ticket if this buyer is a follower. Some followers read the final status again.
    pub async fn book(&self, number: u64, wish: Wish, due: Instant) {
        let answer = self.ask(wish, due).await;
        let Some(ticket) = answer.ticket().filter(|_| is_chosen(number, self.follow_share)) else { return };
        let has_ended = match answer {
            Answer::Accepted { .. } => self.follow_to_the_end(ticket, due).await.is_some(),
            _ => answer.outcome().is_some(),
        };
        if has_ended {
            self.read_again(number, ticket).await;
        }
    }

    /// Reads a final status again if this buyer is chosen: at once from a random instance, and later from every
    /// instance, when each must report it. Reading at once from the instance that reported it would prove little,
    /// because it has probably cached the status.
    pub async fn read_again(&self, number: u64, ticket: Uuid) {
        if is_chosen(number, self.follow_share * READ_AGAIN_SHARE) {
            let any = self.cast.wishes.chance(number).random_range(0..self.instances.len());
            let reading = async {
                self.read_from(&self.instances[any..=any], ticket).await;
                pause(READ_AGAIN_AFTER).await;
                self.read_from(&self.instances, ticket).await;
            };
            self.give_up.run_until_cancelled(reading).await;
        }
    }

    async fn read_from(&self, instances: &[Instance], ticket: Uuid) {
        for instance in instances {
            if let Ok(Standing { told, read, .. }) = instance.ask(&self.books, ticket, "").await {
                self.books.told(ticket, &told, read);
            }
        }
    }

    /// Follows the ticket until it is final. `None` if `give_up` is cancelled first.
    pub async fn follow_to_the_end(&self, ticket: Uuid, due: Instant) -> Option<Outcome> {
        self.meter.follows();
        let following = self.follow.to_the_end(&self.instances[0], &self.books, ticket);
        let outcome = self.give_up.run_until_cancelled(following).await?;
        self.meter.settled(due.elapsed());
        Some(outcome)
    }

    /// Polls the status of a ticket once.
    pub async fn poll(&self, ticket: Uuid, due: Instant) {
        self.meter.begin(due);
        let sent = Instant::now();
        let reply = self.client.get(&format!("/ticket-bookings/{ticket}")).await;
        let read = self.books.status_read(self.instances[0].number, sent, Instant::now());
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
            Told::Unknown => self.books.is_unknown(ticket, read),
            told => {
                self.books.told(ticket, &told, read);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a client waits before it reads again")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Whether the buyer with this number belongs to the chosen `share`, which is distributed evenly.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 buyers")]
fn is_chosen(number: u64, share: f64) -> bool {
    let chosen_before = |n: u64| (n as f64 * share).floor();
    chosen_before(number + 1) > chosen_before(number)
}

/// The tasks of all buyers share the state.
pub type SharedStage = Arc<Stage>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_chosen_buyers_matches_the_share() {
        for (share, expected) in [(0.0, 0), (0.01, 10), (0.25, 250), (1.0, 1_000)] {
            let chosen = (0..1_000).filter(|number| is_chosen(*number, share)).count();
            assert_eq!(chosen, expected, "{share}");
        }
    }
}
