//! The HTTP client of the export, and the library's exporter that uses it.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};

use super::config::TracesConfig;

/// How long an export may take with its retries.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the last export failed. The library's error of a failed connection does not say.
#[derive(Clone, Default)]
pub(super) struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: &HttpError) {
        let chain = std::iter::successors(Some(&**error as &dyn std::error::Error), |error| error.source());
        let text = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// The exporter of this configuration; `None` without an endpoint.
pub(super) fn exporter(config: &TracesConfig) -> anyhow::Result<Option<(SpanExporter, LastError)>> {
    let Some(endpoint) = &config.endpoint else { return Ok(None) };
    let client: Arc<dyn HttpClient> = if endpoint.is_encrypted {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("reading the root certificates of this machine")?
            .https_only()
            .enable_http1()
            .build();
        Arc::new(HyperClient::new(connector, EXPORT_TIMEOUT, None))
    } else {
        Arc::new(HyperClient::with_default_connector(EXPORT_TIMEOUT, None))
    };
    let last_error = LastError::default();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { client, last_error: last_error.clone() })
        .with_endpoint(endpoint.url.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .with_headers(config.headers.0.clone())
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    Ok(Some((exporter, last_error)))
}

/// Records why a request fails.
struct Collector {
    client: Arc<dyn HttpClient>,
    last_error: LastError,
}

impl HttpClient for Collector {
    // As `async_trait` declares it.
    fn send_bytes<'client, 'result>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'result>>
    where
        'client: 'result,
        Self: 'result,
    {
        Box::pin(async move {
            let response = self.client.send_bytes(request).await;
            if let Err(error) = &response {
                self.last_error.set(error);
            }
            response
        })
    }
}

impl Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}
