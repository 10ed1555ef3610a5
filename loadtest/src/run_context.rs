//! The shared state of a run, and the steps of a buyer: book, follow the ticket, and read its status.

use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::buyer_rng::buyer_rng;
use crate::metrics::Metrics;
use crate::visits::Visits;
use hamro_verification::catalogue::SeatPool;
use hamro_verification::contract::{BookingIntent, BookingResponse, ObservedStatus, Outcome, Target};
use hamro_verification::follow::Follow;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;
use hamro_verification::recorded_client::{Booked, RecordedClient};
use hamro_verification::run_log::RunLog;

/// The share of followers that read the final status again.
const READ_AGAIN_SHARE: f64 = 0.1;

pub struct RunContext {
    pub target: Target,
    /// For bookings, and for polls that are part of the load.
    pub booking: Instance,
    /// For following tickets, with separate connections.
    pub followers: Client,
    /// The instances that statuses are read from. Bookings are sent to the first.
    pub instances: Vec<Instance>,
    /// The booking page, in the scenario `opening`.
    pub visits: Option<Visits>,
    pub metrics: Metrics,
    pub recorded: RecordedClient,
    pub run_log: Arc<RunLog>,
    pub seat_pool: SeatPool,
    pub follow: Follow,
    /// The share of tickets that is followed during the run.
    pub follow_share: f64,
    /// Of the random decisions of buyers.
    pub seed: u64,
    /// Origin of the times in the journal.
    pub start: Instant,
    /// Cancelled when followers must stop waiting.
    pub give_up: CancellationToken,
}

impl RunContext {
    /// The random number generator of the buyer with this number.
    pub fn rng(&self, buyer: u64) -> StdRng {
        buyer_rng(self.seed, buyer)
    }

    /// The number by which the CPU time is divided: of the visits so far, otherwise of the requests.
    pub fn cost_basis(&self) -> u64 {
        self.visits.as_ref().map_or_else(|| self.metrics.read().started, Visits::started)
    }

    /// The number of requests that waited for a connection.
    pub fn waited(&self) -> u64 {
        self.booking.client.waited() + self.visits.as_ref().map_or(0, Visits::waited)
    }

    /// Sends a booking, and measures from its due time. The response is recorded before the caller acts on it.
    pub async fn book(&self, intent: BookingIntent, due: Instant) -> BookingResponse {
        self.metrics.begin(due);
        let Booked { response, at } = self.recorded.book(&self.booking, self.target, intent, due, None).await;
        self.metrics.responded(&response, at.saturating_duration_since(due));
        response
    }

    /// Books, and follows the ticket if this buyer is a follower. Some followers read the final status again.
    pub async fn book_and_follow(&self, number: u64, intent: BookingIntent, due: Instant) {
        let response = self.book(intent, due).await;
        let Some(ticket) = response.ticket().filter(|_| is_chosen(number, self.follow_share)) else { return };
        let has_ended = match response {
            BookingResponse::Accepted { .. } => self.follow_until_final(ticket, due).await.is_some(),
            _ => response.outcome().is_some(),
        };
        if has_ended {
            self.read_again(number, ticket).await;
        }
    }

    /// Reads a final status again if this buyer is chosen: at once from a random instance, and later from all.
    pub async fn read_again(&self, number: u64, ticket: Uuid) {
        if is_chosen(number, self.follow_share * READ_AGAIN_SHARE) {
            let any = self.rng(number).random_range(0..self.instances.len());
            let all = || self.instances.clone();
            let reading = self.recorded.read_again(self.instances[any].clone(), all, ticket);
            self.give_up.run_until_cancelled(reading).await;
        }
    }

    /// Follows the ticket until it is final. `None` if `give_up` is cancelled first.
    pub async fn follow_until_final(&self, ticket: Uuid, due: Instant) -> Option<Outcome> {
        self.metrics.follows();
        let following = self.recorded.follow_until_final(self.follow, || self.instances[0].clone(), ticket);
        let (outcome, _) = self.give_up.run_until_cancelled(following).await?;
        self.metrics.settled(due.elapsed());
        Some(outcome)
    }

    /// Polls the status of a ticket once.
    pub async fn poll(&self, ticket: Uuid, due: Instant) {
        self.metrics.begin(due);
        let polled = self.booking.read_status(&self.run_log, ticket, "").await;
        self.metrics.polled(match &polled {
            Err(error) => Err(error.kind()),
            Ok(observed) if observed.status == ObservedStatus::Unavailable => Err("invalid-status"),
            Ok(_) => Ok(due.elapsed()),
        });
        if let Ok(observed) = polled {
            match observed.status {
                ObservedStatus::Unknown => self.run_log.record_unknown(ticket, observed.read),
                status => drop(self.run_log.record_status(ticket, &status, observed.read)),
            }
        }
    }
}

/// Whether the buyer with this number belongs to the chosen `share`, which is distributed evenly.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 buyers")]
fn is_chosen(number: u64, share: f64) -> bool {
    let chosen_before = |n: u64| (n as f64 * share).floor();
    chosen_before(number + 1) > chosen_before(number)
}

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
