//! How clients follow their tickets, and read a final status again.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use hamro_shared::backoff::Backoff;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::{ANSWER_WITHIN, Crowd};
use crate::Events;
use crate::client::Client;
use crate::journal::{Entry, Journal, Standing, Way};
use crate::status_read::StatusRead;

/// When a final status is read again: every instance must report it by then.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(1_100);
/// How many a client reads again before its next wish.
const READ_AGAIN_AT_ONCE: usize = 2;

impl Crowd {
    /// Follows the ticket until it has its final status, if it gets one while the client has patience. Returns the
    /// instance that reported it.
    pub async fn follow(&self, ticket: Uuid, way: Way) -> Result<Option<Client>> {
        self.follow_for(self.patience, ticket, way).await
    }

    /// Looks at the ticket, and no longer than until it has been told where it stands.
    pub async fn look_at(&self, ticket: Uuid) -> Result<()> {
        self.follow_for(Duration::ZERO, ticket, Way::Poll).await.map(drop)
    }

    async fn follow_for(&self, patience: Duration, ticket: Uuid, way: Way) -> Result<Option<Client>> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(300));
        let begun = Instant::now();
        loop {
            let door = self.door();
            if self.read_status(&door, ticket, way).await? {
                return Ok(Some(door));
            }
            if begun.elapsed() >= patience {
                return Ok(None);
            }
            backoff.pause().await;
        }
    }

    /// Reads a final status again: at once from another instance than has just reported it, where there is another, and
    /// later from any (see `read_due_again`).
    pub(super) async fn read_again(&self, ticket: Uuid, reported_by: &Client) -> Result<()> {
        let due = Instant::now() + READ_AGAIN_AFTER;
        self.read_status(&self.door_beside(reported_by), ticket, Way::Poll).await?;
        self.again.lock().unwrap_or_else(PoisonError::into_inner).push_back((due, ticket));
        Ok(())
    }

    /// Reads some of the final statuses again that were reported more than a second ago.
    pub(super) async fn read_due_again(&self) -> Result<()> {
        for _ in 0..READ_AGAIN_AT_ONCE {
            let Some(ticket) = self.next_due() else { return Ok(()) };
            self.read_status(&self.door(), ticket, Way::Poll).await?;
        }
        Ok(())
    }

    fn next_due(&self) -> Option<Uuid> {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, ticket) = again.pop_front_if(|(due, _)| *due <= Instant::now())?;
        Some(ticket)
    }

    /// Another instance than this one, if there is another.
    fn door_beside(&self, door: &Client) -> Client {
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<&Client> = doors.iter().filter(|other| other.instance() != door.instance()).collect();
        if others.is_empty() { door.clone() } else { others[rand::random_range(0..others.len())].clone() }
    }

    /// Asks once, and notes what is told. Returns whether a final status was.
    async fn read_status(&self, door: &Client, ticket: Uuid, way: Way) -> Result<bool> {
        let mut seen = Vec::new();
        let asking = ask(&self.journal, door, ticket, way, &mut seen);
        // Broken off, refused or not known yet: all of them mean to ask again.
        let _ = timeout(ANSWER_WITHIN.min(self.patience), asking).await;
        if seen.is_empty() {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        let is_final = seen.iter().any(|(standing, _)| standing.is_final());
        for (standing, read) in seen {
            self.journal.note(&Entry::Seen { ticket, standing, read })?;
        }
        Ok(is_final)
    }
}

/// Asks once. What is told is in `seen` as soon as it is told: a stream tells more than one status.
async fn ask(
    journal: &Journal,
    door: &Client,
    ticket: Uuid,
    way: Way,
    seen: &mut Vec<(Standing, StatusRead)>,
) -> Result<()> {
    let path = format!("/ticket-bookings/{ticket}");
    let mut sent = Instant::now();
    let mut told = |sent: Instant, document: &Value| {
        let received = Instant::now();
        if document["status"].is_string() {
            let read = journal.status_read(door.instance(), sent, received);
            seen.push((Standing::of_document(document), read));
        }
        received
    };
    match way {
        Way::Listen => {
            let mut events = Events::open(door, &format!("{path}/events")).await?;
            // To its end, so that an event after the final one is seen.
            while let Some(event) = events.next().await? {
                sent = told(sent, &event.data);
            }
        }
        Way::Hold => {
            told(sent, &door.get(&format!("{path}?wait=5")).await?.body);
        }
        _ => {
            told(sent, &door.get(&path).await?.body);
        }
    }
    Ok(())
}
