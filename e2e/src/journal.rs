//! A file, outside the system under test, with the requests of clients and the responses to them.
//!
//! Each line is written to the kernel before its client continues. The journal therefore contains everything that the
//! client knew, whichever process is killed next.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::status_read::StatusRead;

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "camelCase")]
pub enum Entry {
    /// A client is about to send a booking. `attempt` is unique among all clients.
    Asked { attempt: u64, wish: Wish },
    /// The attempt received a response.
    Answered { attempt: u64, status: u16, ticket: Option<Uuid> },
    /// The attempt received no response: the connection broke, or the client disconnected.
    BrokenOff { attempt: u64 },
    /// A client read the status of a ticket.
    Seen {
        ticket: Uuid,
        standing: Standing,
        #[serde(flatten)]
        read: StatusRead,
    },
}

/// A booking that a client wants. All attempts for it, and no others, use its customer name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub customer: String,
    pub key: Option<String>,
    pub seats: Vec<i64>,
    pub way: Way,
}

/// How a client books and follows its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Books and polls.
    Poll,
    /// Books and polls with `wait`, so that the response is held.
    Hold,
    /// Books and reads the ticket's event stream.
    Listen,
    /// Books on the waiting endpoint.
    Wait,
    /// Books, and reads its status only at the end of the test.
    Leave,
    /// Sends the booking twice at the same time.
    Twice,
    /// Disconnects before the response, and retries.
    HangUp,
    /// Publishes the booking directly to the queue, as the api would.
    Publish,
}

/// The status of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Standing {
    pub status: String,
    /// The number of the sale of a confirmed ticket.
    pub sale: Option<i64>,
    /// The problem code of a rejected ticket.
    pub reason: Option<String>,
}

impl Standing {
    /// Reads a status document.
    pub fn of_document(document: &Value) -> Self {
        let status = document["status"].as_str().unwrap_or_default();
        let reason = document["problem"]["code"].as_str().filter(|_| status == "rejected");
        Self {
            status: status.to_owned(),
            sale: document["booking"]["id"].as_i64(),
            reason: reason.map(str::to_owned),
        }
    }

    /// Reads a response of the waiting endpoint. `None` if it reports no outcome.
    pub fn of_answer(status: u16, body: &Value) -> Option<Self> {
        let code = body["code"].as_str().unwrap_or_default();
        let (standing, reason) = match (status, code) {
            (201, _) => ("confirmed", None),
            (503, "expired-in-queue") => ("expired", None),
            (500, "internal") => ("failed", None),
            (404 | 409 | 422, _) => ("rejected", Some(code.to_owned())),
            _ => return None,
        };
        Some(Self {
            status: standing.to_owned(),
            sale: body["id"].as_i64().filter(|_| status == 201),
            reason,
        })
    }

    pub fn is_final(&self) -> bool {
        ["confirmed", "rejected", "expired", "failed"].contains(&self.status.as_str())
    }
}

/// An open journal.
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    /// Origin of the times of the status reads.
    started: Instant,
}

impl Journal {
    pub fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}.jsonl"));
        let file = File::create_new(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path, file: Mutex::new(file), started: Instant::now() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn note(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?)
    }

    /// A status read from this instance, in the time of this journal.
    pub fn status_read(&self, instance: &str, sent: Instant, received: Instant) -> StatusRead {
        let (sent, received) = (self.nanos(sent) / 1_000, self.nanos(received).div_ceil(1_000));
        StatusRead { instance: instance.to_owned(), sent, received }
    }

    /// The read that follows `before` on the same event stream.
    pub fn next_event(&self, before: &StatusRead, received: Instant) -> StatusRead {
        let received = self.nanos(received).div_ceil(1_000);
        StatusRead { instance: before.instance.clone(), sent: before.received, received }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads all entries from the file.
    pub fn read(&self) -> Result<Vec<Entry>> {
        fs::read_to_string(&self.path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Deletes the file.
    pub fn remove(&self) -> Result<()> {
        Ok(fs::remove_file(&self.path)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_event_of_a_stream_counts_as_sent_when_the_event_before_it_was_received() {
        let journal = Journal::create(&format!("events-{}", Uuid::from_u128(rand::random()))).unwrap();
        let at = |nanos| journal.started + Duration::from_nanos(nanos);
        let first = journal.status_read("a", at(1_999), at(3_001));
        assert_eq!((first.sent, first.received), (1, 4));
        // Both events were received at the same moment.
        let second = journal.next_event(&first, at(3_001));
        assert_eq!((second.sent, second.received), (4, 4));
        assert!(second.must_be_final_after(&first));
        journal.remove().unwrap();
    }

    #[test]
    fn a_decoded_entry_equals_the_written_one() {
        let journal = Journal::create(&format!("entries-{}", Uuid::from_u128(rand::random()))).unwrap();
        let standing = Standing { status: "confirmed".to_owned(), sale: Some(7), reason: None };
        let read = StatusRead { instance: "a".to_owned(), sent: 1, received: 4 };
        let seen = Entry::Seen { ticket: Uuid::from_u128(1), standing, read };
        journal.note(&seen).unwrap();
        assert_eq!(journal.read().unwrap(), [seen]);
        journal.remove().unwrap();
    }
}
