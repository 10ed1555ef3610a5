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

/// A final status that is read again.
pub(super) struct Again {
    due: Instant,
    ticket: Uuid,
    reported_by: Client,
}

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

    /// Reads a final status again: at once from any instance, and later from another than has reported it, where there is
    /// another (see `read_due_again`). Not from that one at once: an instance that has reported it is likely to remember it.
    pub(super) async fn read_again(&self, ticket: Uuid, reported_by: Client) -> Result<()> {
        let due = Instant::now() + READ_AGAIN_AFTER;
        self.read_status(&self.door(), ticket, Way::Poll).await?;
        let again = Again { due, ticket, reported_by };
        self.again.lock().unwrap_or_else(PoisonError::into_inner).push_back(again);
        Ok(())
    }

    /// Reads some of the final statuses again that were reported more than a second ago.
    pub(super) async fn read_due_again(&self) -> Result<()> {
        for _ in 0..READ_AGAIN_AT_ONCE {
            let Some(Again { ticket, reported_by, .. }) = self.next_due() else { return Ok(()) };
            self.read_status(&self.door_beside(&reported_by), ticket, Way::Poll).await?;
        }
        Ok(())
    }

    fn next_due(&self) -> Option<Again> {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        again.pop_front_if(|again| again.due <= Instant::now())
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
    let (sent, mut before) = (Instant::now(), None);
    let mut told = |document: &Value| {
        let received = Instant::now();
        let read = match &before {
            None => journal.status_read(door.instance(), sent, received),
            Some(before) => journal.next_event(before, received),
        };
        before = Some(read.clone());
        if document["status"].is_string() {
            seen.push((Standing::of_document(document), read));
        }
    };
    match way {
        Way::Listen => {
            let mut events = Events::open(door, &format!("{path}/events")).await?;
            // To its end, so that an event after the final one is seen.
            while let Some(event) = events.next().await? {
                told(&event.data);
            }
        }
        Way::Hold => told(&door.get(&format!("{path}?wait=5")).await?.body),
        _ => told(&door.get(&path).await?.body),
    }
    Ok(())
}
