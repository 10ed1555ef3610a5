//! An instance of the api, as those know it who ask it where tickets stand.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::books::Books;
use crate::http::{Client, NoAnswer};
use crate::status_read::StatusRead;
use crate::wire::Told;

#[derive(Clone)]
pub struct Instance {
    /// By which the journal knows it: 0 is the one that bookings are made at.
    pub number: u16,
    pub client: Client,
}

/// Where a ticket stands, by one instance.
pub struct Standing {
    pub told: Told,
    pub read: StatusRead,
    pub retry_after: Option<Duration>,
}

impl Instance {
    /// Asks once; `query` may ask to be held.
    pub async fn ask(&self, books: &Books, ticket: Uuid, query: &str) -> Result<Standing, NoAnswer> {
        // Before there is a connection for it: what counts as sent is never later than it was.
        let sent = Instant::now();
        let reply = self.client.get(&format!("/ticket-bookings/{ticket}{query}")).await?;
        let read = books.status_read(self.number, sent, Instant::now());
        Ok(Standing { told: Told::read(&reply), read, retry_after: reply.retry_after })
    }
}
