//! How clients follow their tickets and read a final status again.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use hamro_shared::backoff::Backoff;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Crowd, RESPONSE_TIMEOUT};
use crate::Events;
use crate::client::Client;
use crate::journal::{Entry, Journal, Standing, Way};
use crate::status_read::StatusRead;

/// Delay after which a final status is read again. By then every instance must report it.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(1_100);
/// How many statuses a client reads again before its next booking.
const READ_AGAIN_AT_ONCE: usize = 2;

/// A final status to read again.
pub(super) struct Again {
    due: Instant,
    ticket: Uuid,
    reported_by: Client,
}

impl Crowd {
    /// Follows the ticket until it has its final status or the client gives up. Returns the instance that reported the
    /// status.
    pub async fn follow(&self, ticket: Uuid, way: Way) -> Result<Option<Client>> {
        self.follow_for(self.retry_timeout, ticket, way).await
    }

    /// Reads the status of the ticket once.
    pub async fn look_at(&self, ticket: Uuid) -> Result<()> {
        self.follow_for(Duration::ZERO, ticket, Way::Poll).await.map(drop)
    }

    async fn follow_for(&self, retry_timeout: Duration, ticket: Uuid, way: Way) -> Result<Option<Client>> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(300));
        let started = Instant::now();
        loop {
            let door = self.door();
            if self.read_status(&door, ticket, way).await? {
                return Ok(Some(door));
            }
            if started.elapsed() >= retry_timeout {
                return Ok(None);
            }
            backoff.pause().await;
        }
    }

    /// Reads a final status again: at once from any instance, and later from an instance other than the one that
    /// reported it, if there is one (see `read_due_again`). The reporting instance has probably cached it, so reading
    /// it there at once would prove little.
    pub(super) async fn read_again(&self, ticket: Uuid, reported_by: Client) -> Result<()> {
        let due = Instant::now() + READ_AGAIN_AFTER;
        self.read_status(&self.door(), ticket, Way::Poll).await?;
        let again = Again { due, ticket, reported_by };
        self.again.lock().unwrap_or_else(PoisonError::into_inner).push_back(again);
        Ok(())
    }

    /// Reads some of the statuses again that were reported more than a second ago.
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

    /// A different instance, if there is one.
    fn door_beside(&self, door: &Client) -> Client {
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<&Client> = doors.iter().filter(|other| other.instance() != door.instance()).collect();
        if others.is_empty() { door.clone() } else { others[rand::random_range(0..others.len())].clone() }
    }

    /// Reads the status once and records it. Returns whether it was final.
    async fn read_status(&self, door: &Client, ticket: Uuid, way: Way) -> Result<bool> {
        let mut seen = Vec::new();
        let asking = ask(&self.journal, door, ticket, way, &mut seen);
        // If the read failed, was refused or found no ticket yet, the caller reads again.
        let _ = timeout(RESPONSE_TIMEOUT.min(self.retry_timeout), asking).await;
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

/// Reads the status once. `seen` receives each status at once, because a stream sends more than one.
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
            // Read to the end, to detect an event after the final one.
            while let Some(event) = events.next().await? {
                told(&event.data);
            }
        }
        Way::Hold => told(&door.get(&format!("{path}?wait=5")).await?.body),
        _ => told(&door.get(&path).await?.body),
    }
    Ok(())
}
