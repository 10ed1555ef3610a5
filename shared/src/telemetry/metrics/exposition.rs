//! Renders the metrics for Prometheus.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use prometheus_client::encoding::prometheus_text::{self, CONTENT_TYPE};
use prometheus_client::registry::Registry;

use super::Description;

/// A rendering is used for this long, so that a scraper that asks a thousand times a second costs no more than four
/// renderings.
const RENDER_EVERY: Duration = Duration::from_millis(250);

/// The metrics of a program, complete. Cheap to clone.
#[derive(Clone)]
pub struct Exposition(Arc<State>);

struct State {
    registry: Registry,
    descriptions: Vec<Description>,
    latest: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Exposition {
    /// The `Content-Type` of the text.
    pub const CONTENT_TYPE: &str = CONTENT_TYPE;

    pub(super) fn new(registry: Registry, descriptions: Vec<Description>) -> Self {
        Self(Arc::new(State { registry, descriptions, latest: Mutex::default() }))
    }

    /// The metrics as text, at most [`RENDER_EVERY`] old.
    pub fn render(&self) -> Arc<str> {
        let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((rendered_at, text)) = &*latest
            && rendered_at.elapsed() < RENDER_EVERY
        {
            return text.clone();
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0.registry).expect("a string can be written");
        let text: Arc<str> = text.into();
        *latest = Some((Instant::now(), text.clone()));
        text
    }

    /// The same text as the body of a response.
    pub fn body(&self) -> Bytes {
        Bytes::from_owner(Text(self.render()))
    }

    /// All metrics, also those that have no value yet, as a Markdown table. docs/METRICS.md is made of it.
    pub fn table(&self) -> String {
        let mut descriptions: Vec<&Description> = self.0.descriptions.iter().collect();
        descriptions.sort_unstable();
        let mut table = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
        for Description { name, kind, help, labels } in descriptions {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        }
        table
    }
}

/// A rendering that responses share.
struct Text(Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
