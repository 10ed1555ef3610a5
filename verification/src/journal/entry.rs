//! The entries of a journal.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::{BookingIntent, BookingResponse, Outcome, Target};
use crate::status_read::{StatusRead, is_first};

/// Version 1 had no times of status reads. Version 2 had other names, and did not record which seats a refusal names.
pub(super) const VERSION: u32 = 3;
pub(super) const OLDEST_VERSION: u32 = 1;
const WITH_TAKEN_SEATS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    Run(Header),
    /// A booking request and its response.
    #[serde(alias = "asked")]
    Request(RequestRecord),
    /// A read returned a final status that is new from this instance, or different.
    #[serde(alias = "told")]
    Final {
        ticket: Uuid,
        outcome: Outcome,
        #[serde(flatten)]
        read: StatusRead,
    },
    /// A read returned `queued` after a final status had been received, or the ticket was `unknown`.
    Unsettled {
        ticket: Uuid,
        status: Box<str>,
        #[serde(flatten)]
        read: StatusRead,
    },
    /// The database's clock was read.
    Clock(ClockReading),
    End {
        interrupted: bool,
    },
}

/// The first entry of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    /// The unique name of the run.
    pub name: String,
    /// What the clients did, such as `rush`.
    pub scenario: String,
    pub target: Target,
    pub url: String,
    /// Other instances whose status reads are in the journal, numbered from 1.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub other_urls: Vec<String>,
    /// Origin of the times of the requests, in milliseconds since the Unix epoch.
    pub started: i64,
    pub concerts: Vec<Concert>,
    /// Whether the concerts were created for this run, so that no one else buys their seats.
    #[serde(alias = "own")]
    pub is_exclusive: bool,
}

/// A concert whose seats were requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concert {
    pub id: Uuid,
    pub seats: usize,
    /// The seats sold before the run.
    pub sold_before: Vec<i32>,
}

impl Header {
    pub fn new(
        name: String,
        scenario: String,
        target: Target,
        url: String,
        concerts: Vec<Concert>,
        is_exclusive: bool,
    ) -> Self {
        let other_urls = Vec::new();
        Self { version: VERSION, name, scenario, target, url, other_urls, started: 0, concerts, is_exclusive }
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    #[cfg(test)]
    pub(super) fn with_version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// Whether the journal says which seats a refusal names.
    pub fn records_taken_seats(&self) -> bool {
        self.version >= WITH_TAKEN_SEATS
    }
}

/// A request and its response. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    #[serde(flatten)]
    pub intent: BookingIntent,
    /// Number of the instance that received it.
    #[serde(skip_serializing_if = "is_first", default)]
    pub instance: u16,
    #[serde(skip_serializing_if = "Target::is_async", default)]
    pub target: Target,
    /// When it was due, relative to the start in the header. It was sent then or later.
    pub due: u64,
    /// From then until the response.
    pub took: u64,
    #[serde(alias = "answer")]
    pub response: BookingResponse,
}

/// A reading of the database's clock. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// When the query was sent, since the start of the journal.
    pub sent: u64,
    /// From then until its result.
    pub took: u64,
    /// The database's time, since the Unix epoch.
    pub database: i64,
}
