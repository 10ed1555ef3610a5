//! The final state of the servers after a fault test.

use std::time::Duration;

use anyhow::Result;
use hamro_verification::invariant::{Invariant, Violations};
use hamro_verification::proof::Deadlines;
use sqlx::postgres::PgPool;

use crate::{Deployment, tables, wait_until};

/// The expectations of a test.
#[derive(Clone, Copy, Debug)]
pub struct Expectations {
    pub deadlines: Deadlines,
    /// The longest that a new booking may take to be settled after the fault.
    pub recovery: Duration,
    /// The number of bookings that cannot be processed.
    pub dead_letters: i64,
    /// How far a time that a server took may be from the database's clock.
    pub server_clock_error: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct FinalState {
    pub dead_letters: i64,
    pub deadlocks: i64,
    /// Transactions that have been open for too long.
    pub open_transactions: i64,
    /// The names of the queues that are not empty, and their numbers of messages.
    pub queued: Vec<(String, u32)>,
    /// How long after the end of the fault a new booking was settled.
    pub recovery: Duration,
}

impl FinalState {
    /// Waits until the workers have settled everything, stops them, and reads the final state.
    pub async fn read(deployment: &mut Deployment, recovery: Duration) -> Result<Self> {
        let open_transactions = open_transactions(&deployment.pool).await?;
        left_in_queues(deployment).await?;
        deployment.drain_and_stop_workers().await?;
        Ok(Self {
            dead_letters: tables::count(&deployment.pool, "dead_letters").await?,
            deadlocks: tables::deadlocks(&deployment.pool).await?,
            open_transactions,
            queued: left_in_queues(deployment).await?,
            recovery,
        })
    }

    pub fn check(&self, expectations: &Expectations) -> Violations {
        let Self { dead_letters, deadlocks, open_transactions, queued, recovery } = self;
        let mut violations = Violations::default();
        for (queue, messages) in queued {
            violations.add(Invariant::QueuesAreEmpty, format!("{queue} still has {messages} messages"));
        }
        if *deadlocks > 0 {
            violations.add(Invariant::NoDeadlock, format!("{deadlocks} deadlocks"));
        }
        if *open_transactions > 0 {
            let what = format!("{open_transactions} transactions are still open");
            violations.add(Invariant::NoOpenTransaction, what);
        }
        if *dead_letters != expectations.dead_letters {
            let what = format!("{dead_letters} dead letters instead of {}", expectations.dead_letters);
            violations.add(Invariant::DeadLettersAddUp, what);
        }
        if *recovery > expectations.recovery {
            let what = format!("a new booking was settled only {recovery:?} after the fault");
            violations.add(Invariant::Recovers, what);
        }
        violations
    }
}

async fn open_transactions(pool: &PgPool) -> Result<i64> {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND pid <> pg_backend_pid() AND xact_start < now() - interval '3 seconds'";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// Waits for the queues to become empty, and returns what is left in them after the timeout.
pub(crate) async fn left_in_queues(deployment: &Deployment) -> Result<Vec<(String, u32)>> {
    let topology = &deployment.topology;
    let queues = [topology.intake_queue(), topology.dead_queue(), topology.unrouted_queue()];
    let mut left = Vec::new();
    let _ = wait_until("the queues are empty", async || {
        left.clear();
        for queue in &queues {
            match deployment.messages_in(queue).await? {
                0 => {}
                messages => left.push((queue.clone(), messages)),
            }
        }
        Ok(left.is_empty().then_some(()))
    })
    .await;
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// The rules that are violated after this change to a clean state.
    fn violated_by(change: impl FnOnce(&mut FinalState)) -> Vec<Invariant> {
        let deadlines = Deadlines { booking: MINUTE, waiting: MINUTE };
        let mut state = FinalState::default();
        change(&mut state);
        let violations = state.check(&Expectations {
            deadlines,
            recovery: MINUTE,
            dead_letters: 0,
            server_clock_error: MINUTE,
        });
        violations.rules().into_iter().collect()
    }

    #[test]
    fn leftovers_on_the_servers_are_found() {
        assert_eq!(violated_by(|_| {}), []);
        assert_eq!(violated_by(|state| state.deadlocks = 1), [Invariant::NoDeadlock]);
        assert_eq!(violated_by(|state| state.open_transactions = 1), [Invariant::NoOpenTransaction]);
        let queued = violated_by(|state| state.queued.push(("bookings.dead".to_owned(), 1)));
        assert_eq!(queued, [Invariant::QueuesAreEmpty]);
        assert_eq!(violated_by(|state| state.dead_letters = 1), [Invariant::DeadLettersAddUp]);
        assert_eq!(violated_by(|state| state.recovery = 2 * MINUTE), [Invariant::Recovers]);
    }
}
