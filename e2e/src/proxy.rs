//! A TCP proxy that injects network faults between a client and a server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Deployment;
use crate::deployment::test_setting;

/// A proxy in front of a server.
pub struct Proxy {
    pub address: SocketAddr,
    /// Controls new connections, and the existing ones since the last cut or freeze.
    link: Arc<Mutex<Arc<Link>>>,
    accepted: Arc<AtomicUsize>,
}

/// The faults of a set of connections.
#[derive(Default)]
struct Link {
    /// Drops data from clients.
    drops_requests: AtomicBool,
    /// Drops data from the server.
    drops_responses: AtomicBool,
    /// Whether data from the server was dropped.
    has_dropped_response: AtomicBool,
    /// Closes the connection after a request that contains these bytes, without its response.
    cut_after_request: Mutex<Option<Vec<u8>>>,
    /// Delays the responses from the first request on that contains these bytes.
    held_from: Mutex<Option<Vec<u8>>>,
    is_holding: watch::Sender<bool>,
    /// Latency in each direction.
    delay: Mutex<Duration>,
    cut: CancellationToken,
}

impl Proxy {
    /// Starts a proxy in front of the server at `target`, a host and port.
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
                // A connection that fails is simply closed.
                tokio::spawn(
                    async move { link.cut.run_until_cancelled(connect(client, &target, &link)).await },
                );
            }
        });
        Ok(Self { address, link, accepted })
    }

    /// Drops all data from the server from here on. Data from clients still arrives.
    pub fn drop_responses(&self) {
        lock(&self.link).drops_responses.store(true, Ordering::Relaxed);
    }

    /// Whether data from the server was dropped.
    pub fn has_dropped_response(&self) -> bool {
        lock(&self.link).has_dropped_response.load(Ordering::Relaxed)
    }

    /// Delivers data from the server again.
    pub fn deliver_responses(&self) {
        lock(&self.link).drops_responses.store(false, Ordering::Relaxed);
    }

    /// Drops all data from clients from here on. Data from the server still arrives.
    pub fn drop_requests(&self) {
        lock(&self.link).drops_requests.store(true, Ordering::Relaxed);
    }

    /// Lets the server process the next request that contains this text, and closes the connection before its response
    /// arrives.
    pub fn cut_after_request(&self, request: &str) {
        *lock(&lock(&self.link).cut_after_request) = Some(request.into());
    }

    /// Whether [`Self::cut_after_request`] has taken effect.
    pub fn has_cut(&self) -> bool {
        lock(&lock(&self.link).cut_after_request).is_none()
    }

    /// The number of connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Delivers the next request that contains this text, and from then on holds all responses until [`Self::release`].
    pub fn hold_responses_from(&self, request: &str) {
        *lock(&lock(&self.link).held_from) = Some(request.into());
    }

    /// Whether [`Self::hold_responses_from`] has taken effect.
    pub fn is_holding(&self) -> bool {
        *lock(&self.link).is_holding.borrow()
    }

    /// Delivers the held responses.
    pub fn release(&self) {
        lock(&self.link).is_holding.send_replace(false);
    }

    /// Sets the latency in each direction.
    pub fn delay(&self, delay: Duration) {
        *lock(&lock(&self.link).delay) = delay;
    }

    /// Drops all data of the open connections without closing them, like a firewall that has lost its state. New
    /// connections work normally.
    pub fn freeze_open(&self) {
        let frozen = std::mem::take(&mut *lock(&self.link));
        frozen.drops_requests.store(true, Ordering::Relaxed);
        frozen.drops_responses.store(true, Ordering::Relaxed);
    }

    /// Closes all connections. New connections work normally.
    pub fn cut(&self) {
        std::mem::take(&mut *lock(&self.link)).cut.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(mut client: TcpStream, target: &str, link: &Link) -> Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut sent, mut received) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            length = client.read(&mut sent) => match length? {
                0 => return Ok(()),
                _ if link.drops_requests.load(Ordering::Relaxed) => {}
                length => {
                    link.wait().await;
                    if Link::takes(&link.held_from, &sent[..length]) {
                        link.is_holding.send_replace(true);
                    }
                    server.write_all(&sent[..length]).await?;
                    if Link::takes(&link.cut_after_request, &sent[..length]) {
                        // A response means that the server has processed the request.
                        server.readable().await?;
                        return Ok(());
                    }
                }
            },
            length = server.read(&mut received) => match length? {
                0 => return Ok(()),
                _ if link.drops_responses.load(Ordering::Relaxed) => {
                    link.has_dropped_response.store(true, Ordering::Relaxed);
                }
                length => {
                    link.wait().await;
                    link.is_holding.subscribe().wait_for(|is_holding| !is_holding).await?;
                    client.write_all(&received[..length]).await?;
                }
            },
        }
    }
}

impl Link {
    #[expect(clippy::disallowed_methods, reason = "simulates a slow network")]
    async fn wait(&self) {
        let delay = *lock(&self.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Whether the data contains the awaited bytes. Returns true at most once.
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

impl Deployment {
    /// A proxy in front of the broker, and the `AMQP_URL` that leads through it.
    pub async fn broker_behind_proxy(&self) -> Result<(Proxy, String)> {
        behind_proxy(&test_setting("AMQP_URL")?).await
    }

    /// A proxy in front of Postgres, and the `DATABASE_URL` that leads through it.
    pub async fn database_behind_proxy(&self) -> Result<(Proxy, String)> {
        let settings = self.environment(&[]);
        let url = settings.iter().find(|(name, _)| name == "DATABASE_URL").context("no DATABASE_URL")?;
        behind_proxy(&url.1).await
    }
}

async fn behind_proxy(url: &str) -> Result<(Proxy, String)> {
    let (user, address, path) = split_url(url)?;
    let proxy = Proxy::start(address).await?;
    let url = format!("{user}@{}/{path}", proxy.address);
    Ok((proxy, url))
}

/// The parts of a URL before, in and after its host and port.
pub(crate) fn split_url(url: &str) -> Result<(&str, &str, &str)> {
    let (user, rest) = url.split_once('@').context("the URL has no user")?;
    let (address, path) = rest.split_once('/').context("the URL has no path")?;
    Ok((user, address, path))
}
