//! The client: it sends requests within its time limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::time::timeout;

use super::connection::Tls;
use super::pool::Pool;
use super::{EventStream, HttpResponse, RequestBuilder, RequestError};

/// A client of one server. Clones share the connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    host: HeaderValue,
    timeout: Duration,
    scheme: &'static str,
    pool: Pool,
}

impl Client {
    /// `url` is the server's, such as `http://127.0.0.1:3000`. `max` limits the number of connections. `timeout` limits
    /// a request from waiting for a connection to reading the whole response, or to opening an event stream.
    pub fn new(url: &str, max: usize, timeout: Duration) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("'{url}' is not a URL"))?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            bail!("'{url}' must look like http://127.0.0.1:3000");
        }
        let authority = uri.authority().with_context(|| format!("'{url}' has no host"))?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let host = HeaderValue::try_from(authority.as_str())?;
        Ok(Self(Arc::new(Inner { host, timeout, scheme: "http", pool: Pool::new(address, None, max) })))
    }

    /// A client that uses TLS and HTTP/2, and trusts only this certificate, in the PEM format, of a server at
    /// `localhost`.
    pub fn trusting(certificate: &[u8], port: u16, max: usize, timeout: Duration) -> Result<Self> {
        let (host, address) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
        let (host, tls) = (HeaderValue::try_from(host)?, Tls::trusting(certificate, "localhost")?);
        let pool = Pool::new(address, Some(tls), max);
        Ok(Self(Arc::new(Inner { host, timeout, scheme: "https", pool })))
    }

    /// The host and port of the server.
    pub fn address(&self) -> &str {
        self.0.pool.address()
    }

    /// The number of requests that had to wait for a connection.
    pub fn waited(&self) -> u64 {
        self.0.pool.waited()
    }

    /// Opens connections in advance.
    pub async fn warm(&self, connections: usize) -> Result<(), RequestError> {
        self.0.pool.warm(connections).await
    }

    /// A request to build and send. `path` may have a query.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder<'_> {
        let head = Request::builder().method(method).uri(path).header(HOST, self.0.host.clone());
        RequestBuilder::new(self, head)
    }

    pub async fn get(&self, path: &str) -> Result<HttpResponse, RequestError> {
        self.request(Method::GET, path).send().await
    }

    /// Opens an event stream.
    pub async fn events(&self, path: &str) -> Result<EventStream, RequestError> {
        self.request(Method::GET, path).events().await
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<HttpResponse, RequestError> {
        let responding = async {
            let (connection, response) = self.0.pool.send(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            self.0.pool.put_back(connection);
            Ok(HttpResponse { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(self.0.timeout, responding).await.unwrap_or(Err(RequestError::TimedOut))
    }

    pub(super) async fn open_events(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<EventStream, RequestError> {
        let opening = timeout(self.0.timeout, self.0.pool.send(request)).await;
        let (connection, response) = opening.unwrap_or(Err(RequestError::TimedOut))?;
        Ok(EventStream::new(self.clone(), connection, response))
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.0.pool
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme, self.address())
    }
}
