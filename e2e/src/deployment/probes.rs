//! What a deployment does at the moment, and locks that make it stop at a known point.

use anyhow::Result;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use sqlx::{Postgres, Transaction};

use super::Deployment;
use crate::wait_until;

impl Deployment {
    /// The number of messages in the intake queue, without those that were delivered to a worker.
    pub async fn waiting_messages(&self) -> Result<u32> {
        Ok(self.topology.waiting_messages(&self.channel).await?)
    }

    /// The number of messages in the queue, without those that were delivered to a consumer.
    pub async fn messages_in(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok(queue.message_count())
    }

    /// Waits until the intake queue has this many consumers.
    pub async fn is_consumed_by(&self, consumers: u32) -> Result<()> {
        wait_until(&format!("the intake queue has {consumers} consumers"), async || {
            // A passive declaration of a missing queue closes the channel, hence a separate one.
            let channel = self.connection.create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let state = channel
                .queue_declare(self.topology.intake_queue().into(), options, FieldTable::default())
                .await;
            Ok(state.is_ok_and(|queue| queue.consumer_count() == consumers).then_some(()))
        })
        .await
    }

    /// Locks a seat until the returned transaction ends.
    pub async fn hold_seat(&self, seat: i64) -> Result<Transaction<'static, Postgres>> {
        let mut holder = self.pool.begin().await?;
        sqlx::query("SELECT FROM seats WHERE id = $1 FOR UPDATE")
            .bind(i32::try_from(seat)?)
            .execute(&mut *holder)
            .await?;
        Ok(holder)
    }

    /// Waits until a worker waits for a database lock.
    pub async fn worker_waits_for_a_lock(&self) -> Result<()> {
        wait_until("a worker waits for a lock", async || {
            let waiting: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database() AND application_name LIKE 'hamro-worker%')",
            )
            .fetch_one(&self.pool)
            .await?;
            Ok(waiting.then_some(()))
        })
        .await
    }
}
