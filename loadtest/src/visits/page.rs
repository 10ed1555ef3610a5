//! The requests of a page, in the order in which a browser sends them.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use uuid::Uuid;

use super::encoding::ACCEPTED;
use super::page_files::{files_of, is_style};
use hamro_verification::http::Client;

/// A page of one concert.
pub struct Page {
    /// The browser sends the requests of a step together, once it has all responses of the step before.
    pub steps: Vec<Vec<Resource>>,
    /// The request that says which seats are free, which is also in `steps`.
    pub map: Resource,
    /// The request that opens the event stream.
    pub events: Vec<u8>,
}

/// A request of a page.
#[derive(Clone)]
pub struct Resource {
    /// Identifies it in messages: the same for all concerts.
    pub name: Box<str>,
    /// Its number among all resources of the run.
    pub number: usize,
    head: String,
    first: Vec<u8>,
    /// Of a visitor who has seen the page before. `None` if the browser uses its copy without asking.
    again: Option<Vec<u8>>,
}

impl Resource {
    /// The request of a visitor. `None` if none is sent.
    pub fn request(&self, is_warm: bool) -> Option<&[u8]> {
        if is_warm { self.again.as_deref() } else { Some(&self.first) }
    }

    /// The request of a browser that has the version with this tag.
    pub fn revalidation(&self, tag: Option<&str>) -> Vec<u8> {
        encode(&self.head, tag)
    }
}

/// Loads pages once, to find out what they request and which versions a browser that has seen them has.
pub struct Browser<'a> {
    client: &'a Client,
    concerts: &'a [Uuid],
    /// The files of the documents so far.
    files: Vec<Resource>,
    resources: usize,
}

/// Which seats of a concert are booked, as far as a later request depends on it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    layout_version: Box<str>,
}

/// A response that a later request depends on.
struct Loaded {
    resource: Resource,
    text: String,
}

impl<'a> Browser<'a> {
    pub fn new(client: &'a Client, concerts: &'a [Uuid]) -> Self {
        Self { client, concerts, files: Vec::new(), resources: 0 }
    }

    /// The pages of all concerts.
    pub async fn pages(&mut self) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        for concert in self.concerts {
            let page = self.page(*concert).await;
            pages.push(page.with_context(|| format!("loading the booking page of concert {concert}"))?);
        }
        Ok(pages)
    }

    /// The number of distinct resources.
    pub fn resources(&self) -> usize {
        self.resources
    }

    /// The document, the files that it names, which are the same for all concerts, the seat status, and the seat layout that it
    /// names.
    async fn page(&mut self, concert: Uuid) -> Result<Page> {
        let document = self.load(&format!("/c/{concert}"), Kind::Document).await?;
        let files = self.files(&document.text).await?;
        let path = format!("/seats/concert/{concert}/status");
        let status = self.load(&path, Kind::Data).await?;
        let read: Status = serde_json::from_str(&status.text).with_context(|| format!("reading {path}"))?;
        let path = format!("/seats/concert/{concert}/layouts/{}", read.layout_version);
        let layout = self.load(&path, Kind::Data).await?.resource;
        let map = status.resource;
        let steps = vec![vec![document.resource], files, vec![map.clone()], vec![layout]];
        Ok(Page { steps, map, events: self.events(concert) })
    }

    async fn files(&mut self, document: &str) -> Result<Vec<Resource>> {
        let paths = files_of(document);
        if paths.is_empty() {
            bail!("the document names no script: is this the api, or only a part of its URLs?");
        }
        let mut files = Vec::new();
        for path in paths {
            let known = self.files.iter().find(|file| *file.name == *path).cloned();
            let file = match known {
                Some(file) => file,
                None => {
                    let kind = if is_style(&path) { Kind::Style } else { Kind::Script };
                    self.load(&path, kind).await?.resource
                }
            };
            if !self.files.iter().any(|known| known.number == file.number) {
                self.files.push(file.clone());
            }
            files.push(file);
        }
        Ok(files)
    }

    fn events(&self, concert: Uuid) -> Vec<u8> {
        encode(&self.head(&format!("/seats/concert/{concert}/events"), Kind::Events), None)
    }

    /// Requests a path as a browser does.
    async fn load(&mut self, path: &str, kind: Kind) -> Result<Loaded> {
        let response = self.client.get(path).await.with_context(|| path.to_owned())?;
        if response.status != 200 {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            bail!("GET {path} has the status {} instead of 200: {text}", response.status);
        }
        let head = self.head(path, kind);
        let is_immutable = response.header("cache-control").is_some_and(|value| value.contains("immutable"));
        // The tag of the compressed representation may be another one, but also stands for this version.
        let again = (!is_immutable).then(|| encode(&head, response.header("etag")));
        let name = self
            .concerts
            .iter()
            .fold(path.to_owned(), |name, concert| name.replace(&concert.to_string(), "{concertId}"));
        let resource =
            Resource { name: name.into(), number: self.resources, first: encode(&head, None), again, head };
        self.resources += 1;
        Ok(Loaded { resource, text: String::from_utf8_lossy(&response.body).into_owned() })
    }

    /// The head of a request, without the empty line that ends it.
    fn head(&self, path: &str, kind: Kind) -> String {
        let (accept, mode, destination) = kind.fields();
        let host = self.client.address();
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
             Accept: {accept}\r\nReferer: http://{host}/\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: {mode}\r\n\
             Sec-Fetch-Dest: {destination}\r\nAccept-Encoding: {ACCEPTED}\r\nAccept-Language: en-GB,en;q=0.9\r\n"
        )
    }
}

/// Adds the validator, if there is one, and the end of the head.
fn encode(head: &str, tag: Option<&str>) -> Vec<u8> {
    let mut text = head.to_owned();
    if let Some(tag) = tag {
        write!(text, "If-None-Match: {tag}\r\n").expect("writing to memory does not fail");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// What a browser wants to do with a response.
#[derive(Clone, Copy)]
enum Kind {
    Document,
    Style,
    Script,
    Data,
    Events,
}

impl Kind {
    /// `Accept`, `Sec-Fetch-Mode` and `Sec-Fetch-Dest`.
    fn fields(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Document => {
                ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "navigate", "document")
            }
            Self::Style => ("text/css,*/*;q=0.1", "no-cors", "style"),
            Self::Script => ("*/*", "cors", "script"),
            Self::Data => ("*/*", "cors", "empty"),
            Self::Events => ("text/event-stream", "cors", "empty"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_sends_its_validator_and_asks_for_nothing_that_it_may_keep() {
        let resource = |again: Option<Vec<u8>>| Resource {
            name: "/".into(),
            number: 0,
            head: "GET / HTTP/1.1\r\n".to_owned(),
            first: b"first".to_vec(),
            again,
        };
        let kept = resource(None);
        assert_eq!((kept.request(false), kept.request(true)), (Some(&b"first"[..]), None));
        let revalidated = kept.revalidation(Some("\"a\""));
        assert_eq!(revalidated, b"GET / HTTP/1.1\r\nIf-None-Match: \"a\"\r\n\r\n");
        assert_eq!(resource(Some(revalidated.clone())).request(true), Some(&revalidated[..]));
        assert_eq!(kept.revalidation(None), b"GET / HTTP/1.1\r\n\r\n");
    }
}
