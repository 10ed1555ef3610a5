//! Why a concert's seats cannot be watched, and after how long.

use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::timeout;

/// How long a load or another query about seats may take. If the connection has died, that is a first attempt of five seconds and
/// a second one.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a seat map is used that cannot be compared with the database.
pub const UNVERIFIED_MAX: Duration = Duration::from_mins(1);

/// Why a concert's seats cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum SeatFeedError {
    #[error("there is no such concert")]
    ConcertNotFound,
    #[error("the database did not respond within {LOAD_TIMEOUT:?}")]
    TimedOut,
    #[error("too many seat maps are being loaded")]
    TooManyLoads,
    #[error("the seat map has not been compared with the database for {UNVERIFIED_MAX:?}")]
    Unverified,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Loading panicked, or the process is stopping.
    #[error("loading the seats was aborted: {0}")]
    Aborted(#[from] JoinError),
}

pub async fn within_timeout<T>(
    query: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, SeatFeedError> {
    Ok(timeout(LOAD_TIMEOUT, query).await.map_err(|_| SeatFeedError::TimedOut)??)
}
