use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use hamro_shared::telemetry::metrics::{Exposition, METRICS_PATH, is_local_request};

use crate::http::admin_auth::AdminCheck;
use crate::http::client_address::TrustedProxies;
use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// `GET /metrics` on the port of the api: for programs on this machine, and with an admin token. Prometheus on another machine
/// uses `METRICS_ADDR`.
///
/// Not in the OpenAPI document, which is for clients.
pub fn routes(exposition: Exposition) -> Router<AppState> {
    Router::new().route(METRICS_PATH, get(get_metrics).layer(Extension(exposition)))
}

async fn get_metrics(
    Extension(exposition): Extension<Exposition>,
    State(proxies): State<TrustedProxies>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    admin: AdminCheck,
    request: Parts,
) -> Result<impl IntoResponse, Problem> {
    let is_local = peer.is_some_and(|Extension(ConnectInfo(peer))| {
        // The requests of a proxy on this machine are those of its clients.
        is_local_request(peer.ip(), &request) && !proxies.trusts(peer.ip())
    });
    if !is_local {
        admin.authorise().map_err(refusal)?;
    }
    let headers = [(CONTENT_TYPE, Exposition::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    Ok((headers, exposition.body()))
}

fn refusal(problem: Problem) -> Problem {
    match problem.code() {
        ProblemCode::Forbidden => Problem::new(
            ProblemCode::Forbidden,
            "Metrics are for programs on the machine of this instance: ADMIN_TOKEN is not set on the server.",
        ),
        _ => problem,
    }
}
