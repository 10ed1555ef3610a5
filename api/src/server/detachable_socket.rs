//! A socket that is lent to hyper, and can be taken back.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Clones are of the same socket. It is one task's, so nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct DetachableSocket(Arc<Mutex<Inner>>);

struct Inner {
    stream: Option<TcpStream>,
    is_flushed: bool,
}

impl DetachableSocket {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream: Some(stream), is_flushed: true })))
    }

    /// Whether the last bytes that were to be written have been. hyper writes on until it has nothing left or has to wait.
    pub fn is_flushed(&self) -> bool {
        self.inner().is_flushed
    }

    /// Whoever it was lent to finds it closed from here on.
    pub fn detach(&self) -> Option<TcpStream> {
        self.inner().stream.take()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_flushed = written.is_ready();
        written
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
        let written = inner.stream()?.poll_write(context, bytes);
        inner.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        let written = inner.stream()?.poll_write_vectored(context, slices);
        inner.written(written)
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
