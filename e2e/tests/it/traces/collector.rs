//! A collector that receives what the programs export, and servers at its address that do not.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hamro_e2e::wait_until;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as SpanStatus};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Receives spans until it is dropped.
pub struct Collector {
    pub url: String,
    received: Received,
    _server: AbortOnDropHandle<()>,
}

type Received = Arc<Mutex<Vec<Exported>>>;

/// A span, and the service that exported it.
#[derive(Clone, Debug)]
pub struct Exported {
    pub service: String,
    pub span: Span,
}

/// How something that is not a collector behaves.
#[derive(Clone, Copy, Debug)]
pub enum NoCollector {
    /// Nothing listens.
    Refuses,
    /// Accepts connections and never responds.
    Hangs,
    /// Responds with status 500.
    Fails,
    /// Responds with something that is not HTTP.
    IsNotHttp,
    /// Responds with success, and a body that is not protobuf.
    RespondsWithGarbage,
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let received = Received::default();
        let app = axum::Router::new().route("/v1/traces", post(receive)).with_state(received.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { url, received, _server: AbortOnDropHandle::new(server) })
    }

    pub fn spans(&self) -> Vec<Exported> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the first span with this name.
    pub async fn span(&self, name: &str) -> Result<Exported> {
        self.span_where(name, |_| true).await
    }

    /// Waits for the first span with this name in a trace.
    pub async fn span_of(&self, trace: &str, name: &str) -> Result<Exported> {
        self.span_where(name, |exported| exported.trace_id() == trace).await
    }

    async fn span_where(&self, name: &str, is_wanted: impl Fn(&Exported) -> bool) -> Result<Exported> {
        wait_until(&format!("the span {name:?} is exported"), async || {
            let mut spans = self.spans().into_iter();
            Ok(spans.find(|exported| exported.span.name == name && is_wanted(exported)))
        })
        .await
    }
}

async fn receive(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is_protobuf = headers.get("content-type").is_some_and(|value| value == "application/x-protobuf");
    let Some(request) = ExportTraceServiceRequest::decode(body).ok().filter(|_| is_protobuf) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let service = text(&attributes, "service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            received.push(Exported { service: service.clone(), span });
        }
    }
    StatusCode::OK
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

impl Exported {
    pub fn attribute(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }

    pub fn is_failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error)
    }

    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.span.trace_id == parent.span.trace_id && self.span.parent_span_id == parent.span.span_id
    }

    pub fn links_to(&self, other: &Self) -> bool {
        self.span.links.iter().any(|link| link.span_id == other.span.span_id)
    }

    pub fn trace_id(&self) -> String {
        use std::fmt::Write;
        self.span.trace_id.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl NoCollector {
    pub const ALL: [Self; 5] =
        [Self::Refuses, Self::Hangs, Self::Fails, Self::IsNotHttp, Self::RespondsWithGarbage];

    /// Starts it. It ends with the returned handle.
    pub async fn start(self) -> Result<(String, AbortOnDropHandle<()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = async move {
            let response: &[u8] = match self {
                Self::Refuses => return,
                Self::Hangs => &[],
                Self::Fails => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
                Self::IsNotHttp => b"220 mail.example.com ESMTP\r\n",
                Self::RespondsWithGarbage => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n\xff\xff\xff",
            };
            let mut connections = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                connections.push(AbortOnDropHandle::new(tokio::spawn(async move {
                    let mut request = [0; 16 * 1024];
                    while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let _ = socket.write_all(response).await;
                    }
                })));
            }
        };
        Ok((url, AbortOnDropHandle::new(tokio::spawn(server))))
    }
}

/// The value of a field in the first envelope of a parcel.
pub fn envelope_field(parcel: &[u8], field: &str) -> Result<Option<String>> {
    let parcel: serde_json::Value = serde_json::from_slice(parcel)?;
    let envelope = parcel.get(0).context("an empty parcel")?;
    Ok(envelope.get(field).map(|value| value.as_str().unwrap_or_default().to_owned()))
}
