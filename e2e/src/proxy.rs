//! A TCP connection that can be disturbed, between a client and a server that know nothing of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Installation;
use crate::installation::outer;

/// Listens in the place of a server.
pub struct Proxy {
    pub address: SocketAddr,
    /// That of connections to come, and of those before them up to the last cut.
    link: Arc<Mutex<Arc<Link>>>,
    accepted: Arc<AtomicUsize>,
}

/// What happens to connections.
#[derive(Default)]
struct Link {
    /// What clients send does not arrive.
    is_mute: AtomicBool,
    /// What the server answers does not arrive.
    is_deaf: AtomicBool,
    /// Something has not arrived for that.
    has_lost: AtomicBool,
    /// The answer to a request that has these bytes in it does not arrive, and is the last.
    last_words: Mutex<Option<Vec<u8>>>,
    /// From the request on that has these bytes in it, what the server answers waits.
    held_from: Mutex<Option<Vec<u8>>>,
    is_holding: watch::Sender<bool>,
    /// How long everything takes to arrive.
    delay: Mutex<Duration>,
    cut: CancellationToken,
}

impl Proxy {
    /// In front of the server at `target`, a host and port.
    pub async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let current = Arc::<Mutex<Arc<Link>>>::default();
        let (target, link) = (target.to_owned(), current.clone());
        let accepted = Arc::<AtomicUsize>::default();
        let count = accepted.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (target, link) = (target.clone(), lock(&current).clone());
                // A connection that fails is one that is closed.
                tokio::spawn(
                    async move { link.cut.run_until_cancelled(connect(client, &target, &link)).await },
                );
            }
        });
        Ok(Self { address, link, accepted })
    }

    /// From here on, what clients send arrives, and what the server answers does not.
    pub fn lose_answers(&self) {
        lock(&self.link).is_deaf.store(true, Ordering::Relaxed);
    }

    /// Whether something was lost by that.
    pub fn has_lost(&self) -> bool {
        lock(&self.link).has_lost.load(Ordering::Relaxed)
    }

    /// From here on, what the server answers arrives again.
    pub fn deliver_answers(&self) {
        lock(&self.link).is_deaf.store(false, Ordering::Relaxed);
    }

    /// From here on, what the server says arrives, and what clients send does not.
    pub fn lose_requests(&self) {
        lock(&self.link).is_mute.store(true, Ordering::Relaxed);
    }

    /// The next request with this in it is served, and before its answer arrives the connection is closed.
    pub fn lose_answer_to(&self, request: &str) {
        *lock(&lock(&self.link).last_words) = Some(request.into());
    }

    /// Whether that has happened.
    pub fn has_lost_answer(&self) -> bool {
        lock(&lock(&self.link).last_words).is_none()
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The next request with this in it arrives, and no answer does any more until [`Self::release`].
    pub fn hold_answers_from(&self, request: &str) {
        *lock(&lock(&self.link).held_from) = Some(request.into());
    }

    /// Whether that has happened.
    pub fn is_holding(&self) -> bool {
        *lock(&self.link).is_holding.borrow()
    }

    /// The answers that were held arrive.
    pub fn release(&self) {
        lock(&self.link).is_holding.send_replace(false);
    }

    /// Everything takes this much longer to arrive, either way.
    pub fn delay(&self, delay: Duration) {
        *lock(&lock(&self.link).delay) = delay;
    }

    /// Connections that are open carry nothing any more, and stay open: as if a firewall had forgotten them. New ones work as
    /// they should.
    pub fn freeze_open(&self) {
        let frozen = std::mem::take(&mut *lock(&self.link));
        frozen.is_mute.store(true, Ordering::Relaxed);
        frozen.is_deaf.store(true, Ordering::Relaxed);
    }

    /// Closes all connections. New ones work as they should.
    pub fn cut(&self) {
        std::mem::take(&mut *lock(&self.link)).cut.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(mut client: TcpStream, target: &str, link: &Link) -> Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut sent, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            length = client.read(&mut sent) => match length? {
                0 => return Ok(()),
                _ if link.is_mute.load(Ordering::Relaxed) => {}
                length => {
                    link.wait().await;
                    if Link::takes(&link.held_from, &sent[..length]) {
                        link.is_holding.send_replace(true);
                    }
                    server.write_all(&sent[..length]).await?;
                    if Link::takes(&link.last_words, &sent[..length]) {
                        // The server has done what it was asked for once it answers.
                        server.readable().await?;
                        return Ok(());
                    }
                }
            },
            length = server.read(&mut answered) => match length? {
                0 => return Ok(()),
                _ if link.is_deaf.load(Ordering::Relaxed) => link.has_lost.store(true, Ordering::Relaxed),
                length => {
                    link.wait().await;
                    link.is_holding.subscribe().wait_for(|is_holding| !is_holding).await?;
                    client.write_all(&answered[..length]).await?;
                }
            },
        }
    }
}

impl Link {
    #[expect(clippy::disallowed_methods, reason = "a slow network")]
    async fn wait(&self) {
        let delay = *lock(&self.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Whether these are the bytes that were waited for, which happens once.
    fn takes(awaited: &Mutex<Option<Vec<u8>>>, sent: &[u8]) -> bool {
        let mut awaited = lock(awaited);
        let are_these =
            awaited.as_ref().is_some_and(|words| sent.windows(words.len()).any(|window| window == words));
        if are_these {
            *awaited = None;
        }
        are_these
    }
}

impl Installation {
    /// A proxy in front of the broker, and the setting that leads a process to the broker by way of it.
    pub async fn broker_behind_proxy(&self) -> Result<(Proxy, String)> {
        behind_proxy(&outer("AMQP_URL")?).await
    }

    /// The same in front of Postgres.
    pub async fn database_behind_proxy(&self) -> Result<(Proxy, String)> {
        let settings = self.environment(&[]);
        let url = settings.iter().find(|(name, _)| name == "DATABASE_URL").context("no DATABASE_URL")?;
        behind_proxy(&url.1).await
    }
}

async fn behind_proxy(url: &str) -> Result<(Proxy, String)> {
    let (user, rest) = url.split_once('@').context("the URL has no user")?;
    let (address, path) = rest.split_once('/').context("the URL has no path")?;
    let proxy = Proxy::start(address).await?;
    let url = format!("{user}@{}/{path}", proxy.address);
    Ok((proxy, url))
}
