//! Serves HTTP until it is asked to stop, and then answers what is in flight.

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::HttpConfig;

pub async fn bind(config: &HttpConfig) -> anyhow::Result<TcpListener> {
    let address = config.address;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: set HOST and PORT to an address that is free"))
}

pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await.context("serving HTTP")
}
