//! A socket that is lent to hyper, and can be taken back.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Clones are of the same socket. It is one task's, so nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct LentSocket(Arc<Mutex<Lent>>);

struct Lent {
    stream: Option<TcpStream>,
    is_flushed: bool,
}

impl LentSocket {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Lent { stream: Some(stream), is_flushed: true })))
    }

    /// Whether the last bytes that were to be written have been. hyper writes on until it has nothing left or has to wait.
    pub fn is_flushed(&self) -> bool {
        self.lent().is_flushed
    }

    /// Whoever it was lent to finds it closed from here on.
    pub fn take_back(&self) -> Option<TcpStream> {
        self.lent().stream.take()
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_flushed = written.is_ready();
        written
    }
}

impl AsyncRead for LentSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lent().stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for LentSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut lent = self.lent();
        let written = lent.stream()?.poll_write(context, bytes);
        lent.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut lent = self.lent();
        let written = lent.stream()?.poll_write_vectored(context, slices);
        lent.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lent().stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lent().stream()?.poll_shutdown(context)
    }
}
