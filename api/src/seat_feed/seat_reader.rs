//! Reads the seats of few concerts at a time.

use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use tokio::sync::Semaphore;

use super::stored_seats::{ReadPoint, StoredSeats};

/// Reads seats, two concerts at a time: other requests need the sessions of the pool too.
pub struct SeatReader {
    database: Database,
    turns: Semaphore,
}

impl SeatReader {
    const CONCERTS_AT_ONCE: usize = 2;

    pub fn new(database: Database) -> Self {
        Self { database, turns: Semaphore::new(Self::CONCERTS_AT_ONCE) }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The seats that have changed since `since`, or all seats.
    pub async fn read(
        &self,
        concert: ConcertId,
        since: Option<ReadPoint>,
        revision: u64,
    ) -> Result<StoredSeats, sqlx::Error> {
        let _turn = self.turns.acquire().await;
        let reading = self.database.query_large(move |connection| {
            let since = since.clone();
            Box::pin(async move {
                match since {
                    Some(since) => StoredSeats::load_since(connection, concert, &since, revision).await,
                    None => StoredSeats::load(connection, concert, revision).await,
                }
            })
        });
        reading.await
    }
}
