//! Serves the metrics on a listener of its own (`METRICS_ADDR`), in both programs. The path `/` describes them.
//!
//! It asks for no token, so its address should be one that only Prometheus can reach. It is a small server of its own
//! rather than a part of the api's, so that metrics can be read while clients hold all connections of the api, and the
//! worker has the same. Its clients can hold a few connections for a limited time, and cost a few renderings a second at
//! most ([`Exposition`]).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Exposition;
use crate::backoff::Backoff;
use crate::config::Env;

/// The path of the metrics, on every listener.
pub const METRICS_PATH: &str = "/metrics";

/// The connections that are served at the same time. Others wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take to send a request, and may leave its connection idle. Prometheus asks every 15 seconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// After this long, a connection is closed whatever it does: its client may not read the response.
const CONNECTION_MAX_AGE: Duration = Duration::from_mins(5);

/// Where to serve metrics; nowhere by default.
#[derive(Clone, Copy, Debug)]
pub struct MetricsConfig {
    pub address: Option<SocketAddr>,
}

impl MetricsConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let address = env
            .variable(
                "METRICS_ADDR",
                "Address of a listener for GET /metrics, which asks for no token: choose one that only Prometheus can reach.",
                "an IP address and a port, which differ between the programs of a machine, such as 127.0.0.1:9464",
            )
            .optional();
        Some(Self { address: address? })
    }

    /// Opens the listening socket, if there is an address.
    pub async fn bind(&self) -> anyhow::Result<Option<MetricsListener>> {
        let Some(address) = self.address else { return Ok(None) };
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("cannot serve metrics on {address}: set METRICS_ADDR to an address that is free")
        })?;
        Ok(Some(MetricsListener(listener)))
    }
}

/// An open listener.
pub struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Serves metrics until `stop` is cancelled.
    pub async fn serve(self, exposition: Exposition, stop: CancellationToken) -> anyhow::Result<()> {
        info!("serving metrics on http://{}{METRICS_PATH}", self.0.local_addr()?);
        // Dropped at the end, which closes the connections.
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accepting = async {
            let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
            loop {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await;
                match self.0.accept().await {
                    Ok((socket, _)) => {
                        backoff.reset();
                        let exposition = exposition.clone();
                        connections.spawn(async move {
                            let _place = place;
                            serve_connection(socket, exposition).await;
                        });
                    }
                    Err(error) => {
                        warn!("cannot accept a connection for metrics: {error}; retrying");
                        backoff.pause().await;
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        };
        stop.run_until_cancelled(accepting).await;
        Ok(())
    }
}

async fn serve_connection(socket: TcpStream, exposition: Exposition) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&exposition, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(socket), service);
    match timeout(CONNECTION_MAX_AGE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("a connection for metrics failed: {error}"),
        Err(_) => debug!("closed a connection for metrics: it is too old"),
    }
}

fn respond(exposition: &Exposition, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let (status, content_type, body) = match path {
        METRICS_PATH if is_read => (StatusCode::OK, Exposition::CONTENT_TYPE, exposition.body()),
        "/" if is_read => (StatusCode::OK, TEXT, exposition.table().into()),
        METRICS_PATH | "/" => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, Bytes::from_static(b"Use GET or HEAD.\n"))
        }
        _ => (StatusCode::NOT_FOUND, TEXT, Bytes::from_static(b"The metrics are at /metrics.\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry::metrics::MetricsRegistry;

    /// Serves one gauge, which counts how often it is rendered. Returns the address.
    async fn start(renderings: Arc<AtomicUsize>) -> (SocketAddr, CancellationToken) {
        let mut registry = MetricsRegistry::new("test");
        registry.read_gauge("test_value", "A test", move || {
            renderings.fetch_add(1, Ordering::Relaxed);
            Some(7.0)
        });
        let config = MetricsConfig { address: Some(([127, 0, 0, 1], 0).into()) };
        let listener = config.bind().await.unwrap().unwrap();
        let address = listener.0.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener.serve(registry.finish(), stop.clone()));
        (address, stop)
    }

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn only_the_metrics_and_their_descriptions_are_served() {
        let (address, _stop) = start(Arc::default()).await;
        let metrics = ask(address, "GET /metrics HTTP/1.1").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains("\nhamro_test_value 7.0\n"), "{metrics}");
        let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
        assert!(!body.is_empty());
        let without_body = ask(address, "HEAD /metrics HTTP/1.1").await;
        assert!(
            without_body.starts_with(&head[..12]) && without_body.ends_with("\r\n\r\n"),
            "{without_body}"
        );
        let described = ask(address, "GET / HTTP/1.1").await;
        assert!(described.contains("\n| `hamro_test_value` | gauge |  | A test |\n"), "{described}");
        for (head, status) in [("GET /other HTTP/1.1", "404"), ("POST /metrics HTTP/1.1", "405")] {
            let response = ask(address, head).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        }
    }

    #[tokio::test]
    async fn a_scraper_that_asks_a_thousand_times_costs_a_few_renderings() {
        let renderings = Arc::<AtomicUsize>::default();
        let (address, _stop) = start(renderings.clone()).await;
        let started = Instant::now();
        for _ in 0..1_000 {
            assert!(ask(address, "GET /metrics HTTP/1.1").await.contains("hamro_test_value"));
        }
        let quarters = usize::try_from(started.elapsed().as_millis() / 250).unwrap();
        let renderings = renderings.load(Ordering::Relaxed);
        assert!(renderings <= quarters + 1, "{renderings} renderings in {quarters} quarters of a second");
    }

    #[tokio::test]
    async fn an_address_that_is_in_use_is_named_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = MetricsConfig { address: Some(address) }.bind().await.err().unwrap().to_string();
        assert!(error.contains("METRICS_ADDR") && error.contains(&address.to_string()), "{error}");
        assert!(MetricsConfig { address: None }.bind().await.unwrap().is_none());
    }
}
