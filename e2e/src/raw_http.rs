//! Requests as bytes on connections of their own, also those that no HTTP client sends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Client;

/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects and sends these bytes.
pub async fn send(client: &Client, bytes: impl AsRef<[u8]>) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(client.address()).await?;
    connection.write_all(bytes.as_ref()).await?;
    Ok(connection)
}

/// Reads until the server closes the connection, or resets it because it has not read what the client sent.
pub async fn read_to_end(connection: &mut TcpStream) -> Result<String> {
    let mut received = Vec::new();
    let reading =
        timeout(TIMEOUT, async { while connection.read_buf(&mut received).await.unwrap_or(0) > 0 {} });
    let is_closed = reading.await.is_ok();
    let received = String::from_utf8_lossy(&received).into_owned();
    ensure!(is_closed, "the connection stays open after {received:?}");
    Ok(received)
}

/// Reads until the text appears.
pub async fn read_until(connection: &mut TcpStream, marker: &str) -> Result<String> {
    let mut received = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&received).contains(marker) {
            let count = connection.read_buf(&mut received).await?;
            ensure!(count > 0, "closed");
        }
        Ok(())
    };
    let read = timeout(TIMEOUT, reading).await.unwrap_or_else(|_| Err(anyhow::anyhow!("timed out")));
    let received = String::from_utf8_lossy(&received).into_owned();
    read.with_context(|| format!("waiting for {marker:?} after {received:?}"))?;
    Ok(received)
}

/// Sends one request and reads until the server closes the connection.
pub async fn exchange(client: &Client, request: impl AsRef<[u8]>) -> Result<String> {
    read_to_end(&mut send(client, request).await?).await
}

/// The status of the first response, or 0.
pub fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// The value of a header of the first response. `name` is in lower case.
pub fn header<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let lines = response.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Frames of HTTP/2 (RFC 9113).
pub mod http2 {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const DATA: u8 = 0;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    /// What a client sends first: the preface and its settings, pairs of an identifier and a value.
    pub fn start(settings: &[(u16, u32)]) -> Vec<u8> {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &payload)].concat()
    }

    /// The head of a request. Names and values have less than 127 bytes.
    pub fn headers(stream: u32, fields: &[(&str, &str)], is_last: bool) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal field that is not indexed, with a new name; neither is Huffman-coded (RFC 7541, section 6.2.2).
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("is short"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        frame(HEADERS, END_HEADERS | if is_last { END_STREAM } else { 0 }, stream, &block)
    }

    /// A part of a body.
    pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
        frame(DATA, 0, stream, bytes)
    }

    /// Cancels a request.
    pub fn reset(stream: u32) -> Vec<u8> {
        const CANCEL: u32 = 8;
        frame(RESET, 0, stream, &CANCEL.to_be_bytes())
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }
}
