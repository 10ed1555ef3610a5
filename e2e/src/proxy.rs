//! A TCP connection that can be disturbed, between a client and a server that know nothing of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Listens in the place of a server.
pub struct Proxy {
    pub address: SocketAddr,
    /// That of connections to come, and of those before them up to the last cut.
    link: Arc<Mutex<Arc<Link>>>,
}

/// What happens to connections.
#[derive(Default)]
struct Link {
    /// What the server answers does not arrive.
    is_deaf: AtomicBool,
    cut: CancellationToken,
}

impl Proxy {
    /// In front of the server at `target`, a host and port.
    pub async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let current = Arc::<Mutex<Arc<Link>>>::default();
        let (target, link) = (target.to_owned(), current.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, link) = (target.clone(), lock(&current).clone());
                // A connection that fails is one that is closed.
                tokio::spawn(
                    async move { link.cut.run_until_cancelled(connect(client, &target, &link)).await },
                );
            }
        });
        Ok(Self { address, link })
    }

    /// From here on, what clients send arrives, and what the server answers does not.
    pub fn lose_answers(&self) {
        lock(&self.link).is_deaf.store(true, Ordering::Relaxed);
    }

    /// Closes all connections. New ones work as they should.
    pub fn cut(&self) {
        std::mem::take(&mut *lock(&self.link)).cut.cancel();
    }
}

fn lock(link: &Mutex<Arc<Link>>) -> MutexGuard<'_, Arc<Link>> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(mut client: TcpStream, target: &str, link: &Link) -> Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut sent, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            length = client.read(&mut sent) => match length? {
                0 => return Ok(()),
                length => server.write_all(&sent[..length]).await?,
            },
            length = server.read(&mut answered) => match length? {
                0 => return Ok(()),
                _ if link.is_deaf.load(Ordering::Relaxed) => {}
                length => client.write_all(&answered[..length]).await?,
            },
        }
    }
}
