//! The event streams that visitors keep open while they look at the page.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::connection::Connection;

/// How long it may take to open a stream.
const OPENING: Duration = Duration::from_secs(10);
/// A connection needs a port of its own. Linux assigns 28 000 for each address, of which other connections need some.
const STREAMS_AN_ADDRESS: u64 = 20_000;
const SCRATCH_BYTES: usize = 64 * 1024;

pub struct Streams {
    address: SocketAddr,
    /// As many as this process may open.
    max: u64,
    open: AtomicU64,
    counts: [AtomicU64; 4],
    scratch: Mutex<Box<[u8]>>,
}

/// What became of the streams that visitors wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCounts {
    pub opened: u64,
    /// Refused by the target, for example because `STREAMS_MAX` are open.
    pub refused: u64,
    /// Not requested, because the load generator may not open more files.
    pub not_tried: u64,
    pub received_bytes: u64,
}

#[derive(Clone, Copy)]
enum Count {
    Opened,
    Refused,
    NotTried,
    ReceivedBytes,
}

impl Streams {
    pub fn new(address: SocketAddr, max: u64) -> Self {
        Self {
            address,
            max,
            open: AtomicU64::new(0),
            counts: Default::default(),
            scratch: Mutex::new(vec![0; SCRATCH_BYTES].into()),
        }
    }

    pub fn counts(&self) -> StreamCounts {
        let [opened, refused, not_tried, received_bytes] =
            self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        StreamCounts { opened, refused, not_tried, received_bytes }
    }

    /// Opens a stream and reads it for this long, or until the target ends it.
    pub async fn watch(&self, request: &[u8], stay: Duration) {
        let number = self.open.fetch_add(1, Ordering::Relaxed);
        if number >= self.max {
            self.add(Count::NotTried, 1);
        } else {
            match timeout(OPENING, self.open(request, number)).await {
                Ok(Ok(Some(mut connection))) => {
                    self.add(Count::Opened, 1);
                    let _ = timeout(stay, self.read(&mut connection)).await;
                }
                Ok(Ok(None) | Err(_)) | Err(_) => self.add(Count::Refused, 1),
            }
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    async fn open(&self, request: &[u8], number: u64) -> io::Result<Option<Connection>> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = source(self.address, number) {
            socket.bind(SocketAddr::from((from, 0)))?;
        }
        let mut connection = Connection::new(socket.connect(self.address).await?);
        connection.send(request).await?;
        let head = connection.head().await?;
        self.add(Count::ReceivedBytes, connection.buffered() as u64);
        connection.forget_buffered();
        Ok((head.status == 200).then_some(connection))
    }

    async fn read(&self, connection: &mut Connection) {
        while let Ok(bytes) = connection.discard(&self.scratch).await {
            if bytes == 0 {
                break;
            }
            self.add(Count::ReceivedBytes, bytes as u64);
        }
    }

    fn add(&self, count: Count, number: u64) {
        self.counts[count as usize].fetch_add(number, Ordering::Relaxed);
    }
}

/// The address that a stream comes from: on this machine another one for each 20 000 streams. `None` leaves it to the
/// system.
fn source(target: SocketAddr, number: u64) -> Option<IpAddr> {
    let block = u8::try_from(number / STREAMS_AN_ADDRESS).unwrap_or(u8::MAX);
    let IpAddr::V4(target) = target.ip() else { return None };
    (target.is_loopback() && block > 0).then(|| Ipv4Addr::new(127, 0, 1, block).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_streams_than_one_address_has_ports_come_from_several_addresses_of_this_machine() {
        let (here, elsewhere) = ("127.0.0.1:3000".parse().unwrap(), "192.0.2.1:3000".parse().unwrap());
        assert_eq!(source(here, 19_999), None);
        assert_eq!(source(here, 20_000), Some("127.0.1.1".parse().unwrap()));
        assert_eq!(source(here, 49_999), Some("127.0.1.2".parse().unwrap()));
        assert_eq!(source(elsewhere, 49_999), None);
    }
}
