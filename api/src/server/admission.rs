//! Bounds the number of open connections.
//!
//! Each connection is an open file. If clients could take all of them, no health check would be answered, and the
//! connections to the broker and the database could not be renewed. So some files are kept in reserve. A connection
//! above the bound takes a place in the reserve for a moment: a health check is answered on it, and any other request
//! refused. If all places are taken, it displaces the connection that has been there the longest, because a client that
//! is going to send a request does so at once.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::warn;

use super::config::HttpConfig;
use super::request_counts::RequestCounts;
use crate::http::bound::{Bound, Held, Refusal};
use crate::http::client_address::{Client, ClientAddress, TrustedProxies};
use crate::http::problem::{Problem, ProblemCode};

/// Open files for everything but clients: the broker, the database, logs, and connections that are refused.
const RESERVE: u64 = 200;

/// Connections that are refused at the same time.
const PLACES: usize = 48;

pub struct Admission {
    connections: Arc<Bound>,
    /// The connections that are being refused, the oldest first.
    refusing: Mutex<VecDeque<oneshot::Sender<()>>>,
    /// Twice as many as places: a displaced connection is open until its task has ended.
    open_places: Arc<Semaphore>,
    proxies: TrustedProxies,
    counts: RequestCounts,
}

/// What may be done with a connection.
pub enum Admitted {
    /// Serve it. It counts as open until this is dropped.
    Open(Held),
    /// Answer health checks, and everything else with the problem.
    Refusing(Place, Problem),
}

/// The place of a connection that is being refused. Free once this is dropped.
pub struct Place {
    displaced: oneshot::Receiver<()>,
    _open: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Resolves once another connection has taken the place.
    pub async fn displaced(&mut self) {
        let _ = (&mut self.displaced).await;
    }
}

impl Admission {
    pub fn new(config: &HttpConfig, counts: RequestCounts) -> Self {
        let connections =
            connections_max(config.connections_max.map(|max| max.get().into()), raise_open_file_limit());
        Self {
            connections: Bound::new(connections, config.client_share),
            refusing: Mutex::default(),
            open_places: Arc::new(Semaphore::new(2 * PLACES)),
            proxies: config.rate_limit.trusted_proxies.clone(),
            counts,
        }
    }

    /// The bound of the connections.
    pub fn connections(&self) -> &Arc<Bound> {
        &self.connections
    }

    /// What requests are counted in.
    pub(super) fn counts(&self) -> RequestCounts {
        self.counts.clone()
    }

    /// Waits while displaced connections are still being closed.
    pub async fn admit(&self, peer: IpAddr) -> Admitted {
        let client = ClientAddress::of(peer);
        // All clients behind a proxy share its address.
        let counted = (!self.proxies.trusts(peer)).then_some(client);
        let refusal = match self.connections.hold(Client(counted), 1) {
            Ok(held) => return Admitted::Open(held),
            Err(refusal) => refusal,
        };
        let problem = problem(refusal);
        self.counts
            .tally()
            .count(problem.code().as_str(), false, || Some("a connection was refused".to_owned().into()));
        Admitted::Refusing(self.take_place().await, problem)
    }

    async fn take_place(&self) -> Place {
        // The semaphore is never closed.
        let open = self.open_places.clone().acquire_owned().await.ok();
        let mut refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.retain(|place| !place.is_closed());
        if refusing.len() >= PLACES {
            refusing.pop_front();
        }
        let (place, displaced) = oneshot::channel();
        refusing.push_back(place);
        Place { displaced, _open: open }
    }
}

fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Total => {
            let detail = "Too many connections are open. Try again in a moment.";
            Problem::new(ProblemCode::Overloaded, detail).retry_after(5)
        }
        Refusal::Share => refusal.problem(ProblemCode::Overloaded, "open connections"),
    }
}

/// The maximum number of connections: what is configured, as far as the limit on open files allows it.
fn connections_max(configured: Option<u64>, open_files: u64) -> u64 {
    let possible = open_files.saturating_sub(RESERVE.min(open_files / 2)).max(1);
    match configured {
        Some(configured) if configured > possible => {
            warn!("CONNECTIONS_MAX is lowered to {possible}: the limit on open files is {open_files}");
            possible
        }
        Some(configured) => configured,
        None => possible,
    }
}

/// Each connection is an open file, and the usual soft limit is 1024. A process may raise it to its hard limit without
/// privileges. Returns the limit.
fn raise_open_file_limit() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(error) => {
                warn!("cannot raise the limit on open files: {error}");
                soft
            }
        },
        Err(error) => {
            warn!("cannot read the limit on open files: {error}");
            1024
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::http::bound::ClientShare;

    fn admission() -> Admission {
        Admission {
            connections: Bound::new(1, ClientShare::WHOLE),
            refusing: Mutex::default(),
            open_places: Arc::new(Semaphore::new(2 * PLACES)),
            proxies: TrustedProxies::default(),
            counts: RequestCounts::default(),
        }
    }

    #[tokio::test]
    async fn a_refused_connection_displaces_the_oldest_one_only_if_all_places_are_taken() {
        let (admission, peer) = (admission(), IpAddr::from([198, 51, 100, 1]));
        let Admitted::Open(_held) = admission.admit(peer).await else { panic!("refused") };
        let mut places = Vec::new();
        for _ in 0..PLACES {
            let Admitted::Refusing(place, _) = admission.admit(peer).await else { panic!("not refused") };
            places.push(place);
        }
        let is_displaced = |place: &mut Place| place.displaced.try_recv() == Err(TryRecvError::Closed);
        assert!(!places.iter_mut().any(is_displaced));
        places.pop();
        let _free = admission.take_place().await;
        assert!(!places.iter_mut().any(is_displaced));
        let _newest = admission.take_place().await;
        assert!(is_displaced(&mut places[0]));
        assert!(!is_displaced(&mut places[1]));
    }

    #[test]
    fn connections_leave_open_files_for_everything_else() {
        assert_eq!(connections_max(None, 20_000), 19_800);
        assert_eq!(connections_max(Some(1_000), 20_000), 1_000);
        assert_eq!(connections_max(Some(30_000), 20_000), 19_800);
        assert_eq!(connections_max(None, 300), 150);
    }
}
