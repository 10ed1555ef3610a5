//! What one client can hold, and that the others are served meanwhile.
//!
//! Clients have addresses of their own: every address in 127.0.0.0/8 is one of this machine.

mod connections;
mod event_streams;
mod heads;
mod unread_responses;
mod waits;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::Client;
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Longer than a test waits for anything that must happen.
const LIMIT: Duration = Duration::from_mins(1);

/// A response as text.
#[derive(Debug)]
struct Response {
    status: u16,
    text: String,
}

impl Response {
    fn parse(text: String) -> Result<Self> {
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        Ok(Self { status: status.with_context(|| format!("not a response: {text:?}"))?, text })
    }

    /// Whether a client can tell what to do: a problem with this code, and when to try again.
    fn is_refusal(&self, status: u16, code: &str) -> bool {
        self.status == status
            && self.text.contains(&format!("\"code\":\"{code}\""))
            && self.text.to_lowercase().contains("\r\nretry-after: ")
    }
}

/// Opens a connection from this address.
async fn connect(client: &Client, from: Ipv4Addr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    Ok(socket.connect(client.address().parse()?).await?)
}

/// Sends a request on a connection of its own, which the server closes after the response.
async fn get(client: &Client, from: Ipv4Addr, path: &str) -> Result<Response> {
    ask(client, from, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

/// Sends the request and reads until the server closes the connection.
async fn ask(client: &Client, from: Ipv4Addr, request: &str) -> Result<Response> {
    let mut connection = connect(client, from).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    timeout(LIMIT, connection.read_to_string(&mut text)).await.context("no end of the response")??;
    Response::parse(text)
}

/// Sends a request for an event stream. Returns the connection once the stream has begun, or else the response.
async fn open_stream(
    client: &Client,
    from: Ipv4Addr,
    path: &str,
) -> Result<std::result::Result<TcpStream, Response>> {
    let mut connection = connect(client, from).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains("data: ") && !text.ends_with('}') {
        let read = timeout(LIMIT, connection.read(&mut buffer)).await.context("no response")??;
        ensure!(read > 0, "the connection ended after {text:?}");
        text.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()));
    }
    let response = Response::parse(text)?;
    Ok(if response.status == 200 { Ok(connection) } else { Err(response) })
}

/// Adds 50 000 seats to a concert, and returns the path of its seat map, which has more than 10 MB.
async fn large_seat_map(client: &Client) -> Result<String> {
    let (concert, map) = client.seat_map(0).await?;
    let tier = &map["seats"][0]["ticketTierId"];
    let block = json!({"ticketTierId": tier, "section": "stadium", "rows": 100, "seatsPerRow": 500});
    client.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
    Ok(format!("/seats/concert/{concert}"))
}
