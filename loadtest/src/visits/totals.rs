//! What visitors requested and received in a run.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::StreamCounts;
use super::decoded_sizes::DecodedSizes;
use super::page::Resource;
use crate::metrics::{histogram, record};

/// A failed request of a page, such as `status-503 of /concerts/{concertId}`.
#[derive(Debug)]
pub struct Failure(Box<str>);

impl Failure {
    pub fn new(kind: &str, resource: &str) -> Self {
        Self(format!("{kind} of {resource}").into())
    }

    pub fn of(error: &Error, resource: &Resource) -> Self {
        match error.kind() {
            // Its text is one of a few names.
            ErrorKind::InvalidData => Self::new(&error.to_string(), &resource.name),
            ErrorKind::ConnectionRefused => Self::new("unreachable", &resource.name),
            ErrorKind::TimedOut => Self::new("no-response", &resource.name),
            _ => Self::new("broken-connection", &resource.name),
        }
    }
}

/// What visitors have requested and received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitCounts {
    /// Visits whose requests all had a response.
    pub complete: u64,
    pub failed: u64,
    /// Requests of pages with a response: also those of failed visits and of buyers who chose again. Bookings are not included.
    pub requests: u64,
    /// Of these, the responses `304`.
    pub not_modified: u64,
    /// The bodies as they were received, and after decompression.
    pub received_bytes: u64,
    pub decoded_bytes: u64,
    pub failures: BTreeMap<Box<str>, u64>,
}

impl VisitCounts {
    pub fn all(&self) -> u64 {
        self.complete + self.failed
    }

    /// Adds what another load generator counted.
    pub fn add(&mut self, other: &Self) {
        self.complete += other.complete;
        self.failed += other.failed;
        self.requests += other.requests;
        self.not_modified += other.not_modified;
        self.received_bytes += other.received_bytes;
        self.decoded_bytes += other.decoded_bytes;
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
    }
}

/// The numbers of a run so far.
#[derive(Clone, Debug)]
pub struct VisitTotals {
    pub counts: VisitCounts,
    /// Distinct bodies that could not be decompressed.
    pub corrupt: u64,
    /// From when a visitor was due until the last response of the page.
    pub latency: Histogram<u64>,
    pub streams: StreamCounts,
}

pub struct Totals(Mutex<Data>);

struct Data {
    started: u64,
    /// Without the decompressed bytes, which are known at the end.
    counts: VisitCounts,
    latency: Histogram<u64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self(Mutex::new(Data { started: 0, counts: VisitCounts::default(), latency: histogram() }))
    }
}

impl Totals {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn started(&self) -> u64 {
        self.data().started
    }

    pub fn start(&self) {
        self.data().started += 1;
    }

    pub fn complete(&self, took: Duration) {
        let mut data = self.data();
        data.counts.complete += 1;
        record(&mut data.latency, took);
    }

    pub fn fail(&self, failure: Failure) {
        self.data().counts.failed += 1;
        self.fail_reload(failure);
    }

    /// A visit is complete although a later request of it failed.
    pub fn fail_reload(&self, Failure(name): Failure) {
        *self.data().counts.failures.entry(name).or_default() += 1;
    }

    pub fn receive(&self, bytes: u64, is_not_modified: bool) {
        let counts = &mut self.data().counts;
        counts.requests += 1;
        counts.not_modified += u64::from(is_not_modified);
        counts.received_bytes += bytes;
    }

    pub fn read(&self, sizes: &DecodedSizes, streams: StreamCounts) -> VisitTotals {
        let data = self.data();
        VisitTotals {
            counts: VisitCounts { decoded_bytes: sizes.total(), ..data.counts.clone() },
            corrupt: sizes.corrupt(),
            latency: data.latency.clone(),
            streams,
        }
    }
}
