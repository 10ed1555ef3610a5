//! What visitors requested and received in a run.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

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

/// The numbers of a run so far.
#[derive(Clone, Debug)]
pub struct VisitTotals {
    /// Visits whose requests all had a response.
    pub complete: u64,
    pub failed: u64,
    /// Of all requests with a response: also those of failed visits and of buyers who chose again.
    pub requests: u64,
    pub not_modified: u64,
    pub received_bytes: u64,
    pub decoded_bytes: u64,
    /// Distinct bodies that could not be decompressed.
    pub corrupt: u64,
    pub failures: BTreeMap<Box<str>, u64>,
    /// From when a visitor was due until the last response of the page.
    pub latency: Histogram<u64>,
    pub streams: StreamCounts,
}

pub struct Totals(Mutex<Data>);

struct Data {
    started: u64,
    complete: u64,
    failed: u64,
    requests: u64,
    not_modified: u64,
    received_bytes: u64,
    failures: BTreeMap<Box<str>, u64>,
    latency: Histogram<u64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self(Mutex::new(Data {
            started: 0,
            complete: 0,
            failed: 0,
            requests: 0,
            not_modified: 0,
            received_bytes: 0,
            failures: BTreeMap::new(),
            latency: histogram(),
        }))
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
        data.complete += 1;
        record(&mut data.latency, took);
    }

    pub fn fail(&self, failure: Failure) {
        self.data().failed += 1;
        self.fail_reload(failure);
    }

    /// A visit is complete although a later request of it failed.
    pub fn fail_reload(&self, Failure(name): Failure) {
        *self.data().failures.entry(name).or_default() += 1;
    }

    pub fn receive(&self, bytes: u64, is_not_modified: bool) {
        let mut data = self.data();
        data.requests += 1;
        data.not_modified += u64::from(is_not_modified);
        data.received_bytes += bytes;
    }

    pub fn read(&self, sizes: &DecodedSizes, streams: StreamCounts) -> VisitTotals {
        let data = self.data();
        VisitTotals {
            complete: data.complete,
            failed: data.failed,
            requests: data.requests,
            not_modified: data.not_modified,
            received_bytes: data.received_bytes,
            decoded_bytes: sizes.total(),
            corrupt: sizes.corrupt(),
            failures: data.failures.clone(),
            latency: data.latency.clone(),
            streams,
        }
    }
}
