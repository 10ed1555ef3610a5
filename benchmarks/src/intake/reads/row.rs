//! A read, and the lines of the table.

use std::fmt::Write;

use anyhow::Result;
use hamro_e2e::Client;
use hamro_e2e::stats::print;
use hyper::Method;

use crate::wrk::{Measured, Wrk};

/// The handler that does nothing.
const EMPTY_HANDLER: &str = "/health/live";

/// How long the empty handler and the read are measured, one after the other, in seconds.
#[derive(Clone, Copy)]
pub struct Times {
    pub yardstick: u32,
    pub read: u32,
}

/// A request that is measured.
#[derive(Clone, Debug)]
pub struct Read {
    pub name: String,
    pub path: String,
    /// `Accept-Encoding`, if it is sent.
    pub accepted: Option<&'static str>,
    /// Whether the client has the current version.
    pub is_known: bool,
}

/// A read, and the headers of its request or why it cannot be measured.
pub struct PreparedRead {
    read: Read,
    headers: Result<Headers, String>,
}

type Headers = Vec<(&'static str, String)>;

impl Read {
    pub fn new(name: &str, path: &str, accepted: Option<&'static str>) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), accepted, is_known: false }
    }

    /// The same read by a client that has the current version.
    pub fn known(&self) -> Self {
        Self { is_known: true, ..self.clone() }
    }

    /// Finds out whether it can be measured.
    pub async fn prepare(self, client: &Client) -> Result<PreparedRead> {
        Ok(PreparedRead { headers: self.headers(client).await?, read: self })
    }

    /// The headers of the request, or why it cannot be measured.
    async fn headers(&self, client: &Client) -> Result<Result<Headers, String>> {
        let mut request = client.request(Method::GET, &self.path);
        let mut headers = Vec::new();
        if let Some(accepted) = self.accepted {
            request = request.header("accept-encoding", accepted);
            headers.push(("Accept-Encoding", accepted.to_owned()));
        }
        let response = request.send().await?;
        if response.status != 200 {
            return Ok(Err(format!("status {}", response.status)));
        }
        if self.is_known {
            let Some(tag) = response.header("etag") else { return Ok(Err("no ETag".to_owned())) };
            headers.push(("If-None-Match", tag.to_owned()));
        }
        Ok(Ok(headers))
    }

    fn print(&self, during: &str, rate: &str, ratio: &str, megabytes: &str) {
        let accepted = self.accepted.unwrap_or("–");
        let known = if self.is_known { ", 304" } else { "" };
        print(format!("| {}{known} | {accepted} | {during} | {rate} | {ratio} | {megabytes} |", self.name));
    }
}

impl PreparedRead {
    /// Measures it beside the empty handler, and prints a line of the table. `during` says what happens at the same time.
    pub async fn measure(&self, client: &Client, times: Times, during: &str) -> Result<()> {
        let headers = match &self.headers {
            Ok(headers) => headers,
            Err(reason) => {
                self.read.print(during, &format!("– ({reason})"), "–", "–");
                return Ok(());
            }
        };
        let (yardstick, url) = (client.url(EMPTY_HANDLER), client.url(&self.read.path));
        let yardstick = Wrk::new(&yardstick).seconds(times.yardstick).run().await?;
        let measured = Wrk::new(&url).seconds(times.read).headers(headers).run().await?;
        self.report(during, measured, yardstick);
        Ok(())
    }

    fn report(&self, during: &str, measured: Measured, yardstick: Measured) {
        let refused = measured.refused / (measured.rate + measured.refused).max(1.0);
        let mut note = String::new();
        if refused > 0.0 {
            let _ = write!(note, ", {:.0} % refused", 100.0 * refused);
        }
        if measured.broken > 0.0 {
            let _ = write!(note, ", {:.0} without a response", measured.broken);
        }
        self.read.print(
            during,
            &format!("{:.0}{note}", measured.rate),
            &format!("{:.2}", measured.rate / yardstick.rate.max(1.0)),
            &format!("{:.1}", measured.bytes_per_second / 1e6),
        );
    }
}

pub fn print_head() {
    print("| read | encoding | meanwhile | responses/s | ÷ empty handler | MB/s |");
    print("| --- | --- | --- | --- | --- | --- |");
}
