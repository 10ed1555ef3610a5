//! Sees to it that a batch ends, whatever the database says.

use std::collections::VecDeque;
use std::time::Duration;

use hamro_shared::backoff::Backoff;
use hamro_shared::domain::{Clock, SettledTicket};
use sqlx::postgres::PgPool;
use tracing::{error, warn};

use crate::batch::Batch;
use crate::failure::Failure;
use crate::settlement::settle;

/// After this many refusals in a row of bookings that stood alone, it is not the bookings.
const CULPRITS_IN_A_ROW: u32 = 3;

/// Settles one batch after the other.
pub struct Settler {
    pool: PgPool,
    clock: Clock,
    culprits_in_a_row: u32,
}

impl Settler {
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock, culprits_in_a_row: 0 }
    }

    /// Settles the batch, and returns only when it is: a transient failure is retried, a batch that the database
    /// refuses is split until the culprit stands alone and fails. Anything else keeps the batch waiting here, and with
    /// it whatever is behind it: nothing is taken from the queue, and nothing is lost. Dropping the future loses nothing
    /// either, as what was not committed is still unacknowledged.
    pub async fn settle(&mut self, batch: Batch) -> Vec<SettledTicket> {
        let mut settled = Vec::with_capacity(batch.len());
        let mut todo = VecDeque::from([batch]);
        let mut transient = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        let mut systemic = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        while let Some(batch) = todo.pop_front() {
            let size = batch.len();
            let failure = match settle(&self.pool, &self.clock, &batch).await {
                Ok(tickets) => {
                    settled.extend(tickets);
                    if !batch.orders.is_empty() {
                        self.culprits_in_a_row = 0;
                    }
                    transient.reset();
                    continue;
                }
                Err(failure) => failure,
            };
            match self.class(&failure, &batch) {
                Failure::Transient => {
                    warn!(batch.size = size, "trying a batch of {size} again: {failure}");
                    transient.pause().await;
                    todo.push_front(batch);
                }
                Failure::Systemic => {
                    error!(
                        batch.size = size,
                        "stopped with a batch of {size} in hand, as it is not its fault: {failure}"
                    );
                    systemic.pause().await;
                    todo.push_front(batch);
                }
                Failure::Culprit => match batch.split() {
                    Ok((earlier, later)) => {
                        warn!(
                            batch.size = size,
                            "splitting a batch of {size} that the database refuses: {failure}"
                        );
                        todo.push_front(later);
                        todo.push_front(earlier);
                    }
                    Err(alone) => {
                        self.culprits_in_a_row += 1;
                        todo.push_front(alone.into_dead_letters(&failure));
                    }
                },
            }
        }
        settled
    }

    fn class(&self, failure: &sqlx::Error, batch: &Batch) -> Failure {
        match Failure::of(failure) {
            Failure::Culprit if batch.len() == 1 && self.culprits_in_a_row >= CULPRITS_IN_A_ROW => {
                Failure::Systemic
            }
            // A dead letter brings no data that could be refused.
            Failure::Culprit if batch.orders.is_empty() => Failure::Systemic,
            class => class,
        }
    }
}

impl Batch {
    /// The same, with nothing left to decide: each of its orders has failed.
    fn into_dead_letters(self, failure: &sqlx::Error) -> Self {
        let mut dead_letters = self.dead_letters;
        dead_letters.extend(self.orders.into_iter().map(|order| order.into_dead_letter(failure.to_string())));
        Self { orders: Vec::new(), dead_letters }
    }
}
