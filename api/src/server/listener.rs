//! The listening socket: reserved early, opened once the instance is ready, and closed without resetting a connection.
//!
//! A proxy without health checks sends requests to every instance that accepts its connections. So an instance that
//! starts refuses connections until it is ready: the proxy then asks another one. And an instance that stops must not
//! reset a connection that the kernel has already accepted: the proxy may have sent a booking on it, which it cannot
//! repeat without knowing that the booking had no effect.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpSocket};
use tracing::debug;

/// The number of connections that may wait to be accepted. The usual 1024 are too few when a sale opens: the kernel
/// drops the packets of further clients silently, and they retry after a second. The kernel's limit also applies
/// (`net.core.somaxconn`, 4096).
const BACKLOG: u32 = 65_535;

/// How long handshakes that have begun are waited for, once no more may begin. Longer than a round trip.
pub const LAST_HANDSHAKES: Duration = Duration::from_millis(100);

/// An address that belongs to this process. Connections to it are refused until [`BoundSocket::listen`].
pub struct BoundSocket {
    socket: TcpSocket,
    address: SocketAddr,
}

impl BoundSocket {
    /// Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let bind = || -> io::Result<Self> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().with_context(|| cannot_listen(address))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn listen(self) -> anyhow::Result<TcpListener> {
        self.socket.listen(BACKLOG).with_context(|| cannot_listen(self.address))
    }
}

fn cannot_listen(address: SocketAddr) -> String {
    format!("cannot listen on {address}: set HOST and PORT to an address that is free")
}

/// Lets no more handshakes begin. The kernel drops their first packet; the client sends it again a second later and is then
/// refused, because the socket is closed. Handshakes that have begun are completed, and are still to be accepted.
pub fn begin_no_more_handshakes(listener: &TcpListener) {
    /// Where the flags of a TCP header are, and those that tell its first packet from all others.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    // Classic BPF (linux/bpf_common.h): load a byte, mask it, compare it, and return how much of the packet to keep.
    let filter = [
        SockFilter::new(0x30, 0, 0, FLAGS),
        SockFilter::new(0x54, 0, 0, SYN_OR_ACK),
        SockFilter::new(0x15, 0, 1, SYN),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&filter) {
        debug!("connections that arrive at the last moment may be reset: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn a_reserved_address_refuses_connections_until_it_listens() {
        let bound = BoundSocket::bind(ANY).unwrap();
        let address = bound.address();
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let listener = bound.listen().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
        assert_eq!(listener.local_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn a_listener_that_lets_no_more_handshakes_begin_still_accepts_those_that_have_begun() {
        let listener = BoundSocket::bind(ANY).unwrap().listen().unwrap();
        let address = listener.local_addr().unwrap();
        let early = TcpStream::connect(address).await.unwrap();
        begin_no_more_handshakes(&listener);
        let late = tokio::spawn(TcpStream::connect(address));
        assert_eq!(listener.accept().await.unwrap().1, early.local_addr().unwrap());
        assert!(timeout(LAST_HANDSHAKES, listener.accept()).await.is_err());
        drop(listener);
        let refused = late.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "and it is not reset");
    }
}
