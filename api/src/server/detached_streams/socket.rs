//! A socket that hyper reads and writes, and that can be detached from it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::server::guarded_socket::GuardedSocket;

/// Clones share one socket. One task uses all of them, so the lock is never contended.
#[derive(Clone)]
pub struct DetachableSocket(Arc<Mutex<Inner>>);

struct Inner {
    stream: Option<GuardedSocket>,
    is_flushed: bool,
}

impl DetachableSocket {
    pub fn new(stream: GuardedSocket) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream: Some(stream), is_flushed: true })))
    }

    /// Whether the last write completed. hyper writes until it has nothing left or a write is pending.
    pub fn is_flushed(&self) -> bool {
        self.inner().is_flushed
    }

    /// Takes the socket out. All clones behave like a closed socket from now on.
    pub fn detach(&self) -> Option<TcpStream> {
        self.inner().stream.take().map(GuardedSocket::into_inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn stream(&mut self) -> io::Result<Pin<&mut GuardedSocket>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn record_write(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_flushed = result.is_ready();
        result
    }
}

impl AsyncRead for DetachableSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for DetachableSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        let result = inner.stream()?.poll_write(context, bytes);
        inner.record_write(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        let result = inner.stream()?.poll_write_vectored(context, slices);
        inner.record_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().stream()?.poll_shutdown(context)
    }
}
