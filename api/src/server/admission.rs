//! Bounds the number of open connections.
//!
//! Each connection is an open file. If clients could take all of them, no health check would be answered, and the
//! connections to the broker and the database could not be renewed. So some files are kept in reserve. A connection
//! above the bound takes one of the reserve for a moment: a health check is answered on it, and any other request
//! refused. If these places are taken too, the connection is refused unread.

use std::io::ErrorKind;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;

use hamro_shared::telemetry::Tally;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::warn;

use super::config::HttpConfig;
use crate::http::bound::{Bound, ClientShare, Held, Refusal};
use crate::http::client_address::{Client, ClientAddress, TrustedProxies};
use crate::http::problem::{Problem, ProblemCode};

/// Open files for everything but clients: the broker, the database, logs, and connections that are refused.
const RESERVE: u64 = 200;

/// Connections that are refused at the same time, with an answer to their request.
const REFUSING_MAX: u64 = 64;

/// More such connections from this machine and private networks, which is where health checks come from.
const REFUSING_PRIVATE_MAX: u64 = 16;

const QUARTER: ClientShare = ClientShare::percent::<25>();

pub struct Admission {
    connections: Arc<Bound>,
    refusing: Arc<Bound>,
    refusing_private: Arc<Bound>,
    proxies: TrustedProxies,
    tally: Arc<Tally>,
}

/// What may be done with a connection. It counts as open until this is dropped.
pub enum Admitted {
    Open(Held),
    /// Only health checks are answered.
    Refusing(Held, Problem),
    /// Nothing is read.
    Refused,
}

impl Admission {
    pub fn new(config: &HttpConfig, tally: Arc<Tally>) -> Self {
        let connections =
            connections_max(config.connections_max.map(|max| max.get().into()), raise_open_file_limit());
        Self {
            connections: Bound::new(connections, config.client_share),
            refusing: Bound::new(REFUSING_MAX.min(connections), QUARTER),
            refusing_private: Bound::new(REFUSING_PRIVATE_MAX, QUARTER),
            proxies: config.rate_limit.trusted_proxies.clone(),
            tally,
        }
    }

    pub fn admit(&self, peer: IpAddr) -> Admitted {
        let client = ClientAddress::of(peer);
        // All clients behind a proxy share its address.
        let counted = (!self.proxies.trusts(peer)).then_some(client);
        let refusal = match self.connections.hold(Client(counted), 1) {
            Ok(held) => return Admitted::Open(held),
            Err(refusal) => refusal,
        };
        let problem = problem(refusal);
        self.tally.count(problem.code().as_str(), false, || Some("a connection was refused".to_owned()));
        let mut place = self.refusing.hold(Client(Some(client)), 1);
        if place.is_err() && is_private(peer.to_canonical()) {
            place = self.refusing_private.hold(Client(Some(client)), 1);
        }
        place.map_or(Admitted::Refused, |held| Admitted::Refusing(held, problem))
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

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// Refuses a connection without waiting for its request. If that arrives later, the client may see a reset instead.
pub fn refuse_unread(socket: &TcpStream) {
    const RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = socket.try_write(RESPONSE);
    let _ = SockRef::from(socket).shutdown(Shutdown::Write);
    // Unread data would make the kernel reset the connection, and the client could lose the response.
    let mut discarded = [0; 1024];
    for _ in 0..16 {
        match socket.try_read(&mut discarded) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Ok(_) => {}
            Err(_) => break,
        }
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
    use super::*;

    #[test]
    fn connections_leave_open_files_for_everything_else() {
        assert_eq!(connections_max(None, 20_000), 19_800);
        assert_eq!(connections_max(Some(1_000), 20_000), 1_000);
        assert_eq!(connections_max(Some(30_000), 20_000), 19_800);
        assert_eq!(connections_max(None, 300), 150);
    }
}
