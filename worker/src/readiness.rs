//! Whether this worker works, for orchestrators: `/health/live` and `/health/ready` on `WORKER_HTTP_PORT`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Why the worker does not work; nothing, if it does. Whoever has a reason sets it, and whoever sees it pass clears it.
#[derive(Clone)]
pub struct Readiness(Arc<watch::Sender<Option<&'static str>>>);

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

impl Readiness {
    /// A worker that has yet to start.
    pub fn starting() -> Self {
        Self(Arc::new(watch::Sender::new(Some("it does not consume yet"))))
    }

    pub fn is_red(&self, reason: &'static str) {
        self.0.send_replace(Some(reason));
    }

    pub fn is_green(&self) {
        self.0.send_if_modified(|reason| reason.take().is_some());
    }

    /// Answers whoever asks on `address`.
    pub async fn serve(self, address: SocketAddr, stop: CancellationToken) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: set HOST and WORKER_HTTP_PORT to an address that is free")
        })?;
        info!("answering health checks on http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/health/live", get(async || Json(Health { status: "ok" })))
            .route("/health/ready", get(ready))
            .with_state(self);
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .context("serving HTTP")
    }
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, Json<Health>) {
    match *readiness.0.borrow() {
        None => (StatusCode::OK, Json(Health { status: "ok" })),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: reason })),
    }
}
