//! Visits of the booking page, as a browser makes them in the opening minute: all requests of the page, in their order
//! and with the headers of a browser, and then an event stream.

mod connection;
mod connections;
mod decoded_sizes;
mod encoding;
mod page;
mod page_files;
mod streams;
mod totals;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;
use uuid::Uuid;

use crate::arguments::OpeningArguments;
use connections::{Connections, SentRequest, Slot};
use decoded_sizes::DecodedSizes;
use hamro_verification::http::Client;
use page::{Browser, Page, Resource};
use streams::Streams;
use totals::Totals;

pub use streams::StreamCounts;
pub use totals::{Failure, VisitCounts, VisitTotals};

/// The number of requests that a browser sends to a server at the same time, over HTTP/1.1.
const CONNECTIONS_OF_A_BROWSER: usize = 6;

/// The booking page, its visitors, and what they received.
pub struct Visits {
    pub arguments: OpeningArguments,
    /// One for each concert.
    pages: Vec<Page>,
    connections: Connections,
    sizes: DecodedSizes,
    totals: Totals,
    streams: Arc<Streams>,
    timeout: Duration,
}

/// How much this process may open, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct VisitLimits {
    pub connections: usize,
    pub streams: u64,
    pub timeout: Duration,
}

/// What a browser keeps of a page that it has loaded.
#[derive(Clone)]
pub struct OpenPage {
    concert: usize,
    /// Of the free seats that it shows.
    map_tag: Option<Box<str>>,
}

impl Visits {
    /// Loads the pages of these concerts once. Fails if the target does not have what a page requests.
    pub async fn prepare(
        arguments: OpeningArguments,
        client: &Client,
        concerts: &[Uuid],
        limits: VisitLimits,
    ) -> Result<Self> {
        let mut browser = Browser::new(client, concerts);
        let pages = browser.pages().await?;
        let address = client.address();
        let mut resolved = tokio::net::lookup_host(address).await.with_context(|| address.to_owned())?;
        let stream_address = resolved.next().with_context(|| format!("{address} has no address"))?;
        Ok(Self {
            arguments,
            pages,
            connections: Connections::new(address.to_owned(), limits.connections),
            sizes: DecodedSizes::new(browser.resources()),
            totals: Totals::default(),
            streams: Arc::new(Streams::new(stream_address, limits.streams)),
            timeout: limits.timeout,
        })
    }

    /// Opens connections in advance.
    pub async fn warm(&self, connections: usize) -> Result<()> {
        self.connections.warm(connections).await.context("opening connections")
    }

    /// The number of requests that waited for a connection.
    pub fn waited(&self) -> u64 {
        self.connections.waited()
    }

    /// The number of visits so far.
    pub fn started(&self) -> u64 {
        self.totals.started()
    }

    /// What visitors requested and received.
    pub async fn totals(&self) -> VisitTotals {
        self.sizes.finish().await;
        self.totals.read(&self.sizes, self.streams.counts())
    }

    /// Loads the page for this visitor. `None` if a request failed. `elapsed` is the time since the visitor was due.
    pub async fn open_page(
        &self,
        visitor: u64,
        is_warm: bool,
        elapsed: impl Fn() -> Duration,
    ) -> Option<OpenPage> {
        let concert = usize::try_from(visitor).unwrap_or_default() % self.pages.len();
        self.totals.start();
        let loading = timeout(self.timeout, self.load_page(concert, is_warm));
        match loading.await.unwrap_or_else(|_| Err(Failure::new("no-response", "the whole page"))) {
            Ok(map_tag) => {
                self.totals.complete(elapsed());
                Some(OpenPage { concert, map_tag })
            }
            Err(failure) => {
                self.totals.fail(failure);
                None
            }
        }
    }

    /// Requests the free seats again, for a buyer whose page receives no events. Returns whether they were received.
    pub async fn reload_map(&self, page: &mut OpenPage) -> bool {
        let map = &self.pages[page.concert].map;
        let request = map.revalidation(page.map_tag.as_deref());
        let loading = timeout(self.timeout, async {
            let slot = self.connections.slot().await;
            let sent = self.connections.send(slot, &request).await;
            let sent = sent.map_err(|error| Failure::of(&error, map))?;
            self.receive(map, sent).await
        });
        match loading.await.unwrap_or_else(|_| Err(Failure::new("no-response", &map.name))) {
            Ok(tag) => page.map_tag = tag,
            Err(failure) => {
                self.totals.fail_reload(failure);
                return false;
            }
        }
        true
    }

    /// Watches the events of the page's seat map for as long as visitors stay, if they do.
    pub async fn watch(&self, page: &OpenPage) {
        if self.arguments.streams {
            self.streams.watch(&self.pages[page.concert].events, self.arguments.stay).await;
        }
    }

    /// Returns the tag of the map.
    async fn load_page(&self, concert: usize, is_warm: bool) -> Result<Option<Box<str>>, Failure> {
        let page = &self.pages[concert];
        let mut map_tag = None;
        for step in &page.steps {
            let mut waiting: VecDeque<(&Resource, SentRequest)> = VecDeque::new();
            let requests = step.iter().filter_map(|resource| Some((resource, resource.request(is_warm)?)));
            let mut unsent: VecDeque<(&Resource, &[u8])> = requests.collect();
            loop {
                // All are sent before the first response is read, if there are connections. So this program wakes up once
                // rather than for each.
                while waiting.len() < CONNECTIONS_OF_A_BROWSER
                    && !unsent.is_empty()
                    && let Some(slot) = self.next_slot(waiting.is_empty()).await
                    && let Some((resource, request)) = unsent.pop_front()
                {
                    let sent = self.connections.send(slot, request).await;
                    waiting.push_back((resource, sent.map_err(|error| Failure::of(&error, resource))?));
                }
                let Some((resource, sent)) = waiting.pop_front() else { break };
                let tag = self.receive(resource, sent).await?;
                if resource.number == page.map.number {
                    map_tag = tag;
                }
            }
        }
        Ok(map_tag)
    }

    /// Permission to send the next request of a visit. `None` if it has to read a response first.
    async fn next_slot(&self, has_no_connection: bool) -> Option<Slot> {
        if has_no_connection { Some(self.connections.slot().await) } else { self.connections.free_slot() }
    }

    /// Reads and counts a response. Returns its tag.
    async fn receive(
        &self,
        resource: &Resource,
        mut sent: SentRequest<'_>,
    ) -> Result<Option<Box<str>>, Failure> {
        let failed = |error: io::Error| Failure::of(&error, resource);
        let head = self.connections.head(&mut sent).await.map_err(failed)?;
        let tag = head.tag.as_deref().unwrap_or_default();
        let is_new = head.status == 200 && self.sizes.is_new(resource.number, tag);
        let mut first = is_new.then(Vec::new);
        let keep = |part: &[u8]| {
            if let Some(first) = &mut first {
                first.extend_from_slice(part);
            }
        };
        let received = self.connections.body(sent, &head, keep).await.map_err(failed)?;
        self.totals.receive(received, head.status == 304);
        match head.status {
            200 => self.sizes.add(resource.number, tag, received, head.encoding, first),
            304 => {}
            status => return Err(Failure::new(&format!("status-{status}"), &resource.name)),
        }
        Ok(head.tag)
    }
}

#[cfg(test)]
mod tests;
