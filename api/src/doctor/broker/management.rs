//! RabbitMQ's management API, which shows what no user of AMQP sees: policies, arguments, members of queues and nodes.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hamro_shared::backoff::Backoff;
use hamro_shared::config::connection_url::{ConnectionUrl, UrlError, UrlForm};
use hamro_shared::config::{Env, Setting};
use hamro_shared::queue::{BrokerConfig, Topology};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::cluster::{self, Node, Queue};
use super::policies::{self, Effective, Role};
use crate::doctor::report::Finding;

const MANAGEMENT: &str = "management API";
const NODES: &str = "nodes of RabbitMQ";

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_MAX: usize = 8 << 20;

/// RabbitMQ shows the policies of a queue some seconds after its declaration.
const STATISTICS_WITHIN: Duration = Duration::from_secs(7);

/// What to do without credentials.
const HOW: &str = "set MANAGEMENT_URL=http://USER:PASSWORD@HOST:15672, of a user with the tag monitoring: rabbitmq-plugins \
                   enable rabbitmq_management; rabbitmqctl add_user USER; rabbitmqctl set_user_tags USER monitoring; \
                   rabbitmqctl set_permissions -p VHOST USER '^$' '^$' '^$'";

/// `MANAGEMENT_URL`, which only this command reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementUrl {
    /// Without a slash at the end.
    origin: String,
    authorization: String,
}

impl ManagementUrl {
    const FORM: UrlForm = UrlForm { schemes: &["http", "https"], path: "the path", is_parameter: |_| false };

    /// The outer `None` means that the setting is invalid.
    #[expect(clippy::option_option, reason = "as every optional setting is read")]
    pub fn read(env: &mut Env) -> Option<Option<Self>> {
        env.variable(
            "MANAGEMENT_URL",
            "Address and credentials of RabbitMQ's management API.",
            "http://user:password@host:15672",
        )
        .secret()
        .optional()
    }

    fn parse_url(text: &str) -> Result<Self, UrlError> {
        let url = ConnectionUrl::parse(text, &Self::FORM)?;
        let address = url.only_address()?;
        let host = address.host.as_ref().filter(|host| !host.starts_with('/'));
        let host = host.ok_or_else(|| UrlError::new("the host is missing"))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let port = address.port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = url.path.as_deref().unwrap_or_default().trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        let (Some(user), Some(password)) = (&url.user, &url.password) else {
            return Err(UrlError::new("the user name or the password is missing"));
        };
        Ok(Self {
            origin: format!("{}://{host}{port}{path}", url.scheme),
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
        })
    }
}

impl Setting for ManagementUrl {
    fn parse(text: &str) -> Option<Self> {
        Self::parse_url(text).ok()
    }

    fn problem(text: &str) -> Option<String> {
        Self::parse_url(text).err().map(|error| error.to_string())
    }
}

/// Reads from the management API.
struct Management<'a> {
    url: &'a ManagementUrl,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// The user may not see this.
#[derive(Debug, thiserror::Error)]
#[error("RabbitMQ refuses it to this user ({0})")]
struct Refused(StatusCode);

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
}

pub async fn check(config: &BrokerConfig, topology: &Topology, url: Option<&ManagementUrl>) -> Vec<Finding> {
    let Some(url) = url else {
        let reason = "policies, nodes and members of queues are unknown: MANAGEMENT_URL is not set";
        return vec![Finding::skipped(MANAGEMENT, reason, HOW)];
    };
    match read(config, topology, url).await {
        Ok(findings) => findings,
        Err(error) => {
            let refused = error.is::<Refused>();
            let remedy =
                if refused { HOW } else { "start it, or correct MANAGEMENT_URL; HOST:15672 by default" };
            vec![Finding::error(MANAGEMENT, format!("{error:#}"), remedy).of(&url.origin)]
        }
    }
}

async fn read(
    config: &BrokerConfig,
    topology: &Topology,
    url: &ManagementUrl,
) -> anyhow::Result<Vec<Finding>> {
    let management = Management::new(url)?;
    let overview: Overview = management.get("/api/overview").await?.context("it is no RabbitMQ")?;
    let mut findings = vec![cluster::version(&overview.rabbitmq_version)];
    let nodes = match management.get::<Vec<Node>>("/api/nodes").await {
        Ok(nodes) => nodes,
        Err(error) if error.is::<Refused>() => {
            findings.push(Finding::skipped(NODES, "this user may not see them", HOW));
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(nodes) = &nodes {
        findings.extend(cluster::nodes(nodes));
    }
    let virtual_host = encoded(config.virtual_host());
    for (name, arguments) in topology.queue_arguments() {
        let path = format!("/api/queues/{virtual_host}/{}", encoded(&name));
        let Some(queue) = management.queue_with_statistics(&path).await? else {
            let reason = "it does not exist, or this user may not see the virtual host";
            findings.push(Finding::skipped("queue", reason, HOW).of(&name));
            continue;
        };
        findings.push(cluster::arguments(&name, &queue, &arguments));
        findings.push(cluster::members(&name, &queue, nodes.as_ref().map(Vec::len)));
        findings.extend(policies_of(&name, &queue, topology));
    }
    Ok(findings)
}

fn policies_of(name: &str, queue: &Queue, topology: &Topology) -> Vec<Finding> {
    if queue.state.is_none() {
        let reason = "RabbitMQ has collected no statistics, which show them";
        return vec![Finding::skipped("policies", reason, "enable statistics, or run this again").of(name)];
    }
    let role = if name == topology.intake_queue() { Role::Intake } else { Role::Safekeeping };
    let names = [&queue.policy, &queue.operator_policy].into_iter().filter_map(Option::as_deref);
    let empty = Map::<String, Value>::new();
    policies::check(&Effective {
        queue: name,
        role,
        names: names.filter(|name| !name.is_empty()).collect(),
        definition: queue.effective_policy_definition.as_ref().unwrap_or(&empty),
        dead_letter_exchange: &topology.dead_queue(),
    })
}

impl<'a> Management<'a> {
    fn new(url: &'a ManagementUrl) -> anyhow::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("reading the root certificates of this machine")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { url, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Waits until the queue has statistics, but not for long: they may be disabled.
    async fn queue_with_statistics(&self, path: &str) -> anyhow::Result<Option<Queue>> {
        let waiting = async {
            let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
            loop {
                match self.get::<Queue>(path).await {
                    Ok(Some(queue)) if queue.state.is_none() => backoff.pause().await,
                    result => return result,
                }
            }
        };
        match timeout(STATISTICS_WITHIN, waiting).await {
            Ok(result) => result,
            Err(_) => self.get(path).await,
        }
    }

    /// `None`: there is nothing at this path.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        timeout(REQUEST_TIMEOUT, self.get_without_limit(path)).await.context("it does not respond")?
    }

    async fn get_without_limit<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let request = Request::get(format!("{}{path}", self.url.origin))
            .header(AUTHORIZATION, &self.url.authorization)
            .body(Body::empty())?;
        let response = self.client.request(request).await.context("it cannot be reached")?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => bail!(Refused(status)),
            status => bail!("it responds with {status} to {path}"),
        }
        let body = to_bytes(Body::new(response.into_body()), BODY_MAX)
            .await
            .context("its response is incomplete")?;
        Ok(Some(
            serde_json::from_slice(&body)
                .with_context(|| format!("its response to {path} is not understood"))?,
        ))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_split_into_the_origin_and_the_credentials() {
        let url = ManagementUrl::parse_url("http://u:p%40@[::1]:15672/rabbit/").unwrap();
        assert_eq!(url.origin, "http://[::1]:15672/rabbit");
        assert_eq!(url.authorization, format!("Basic {}", STANDARD.encode("u:p@")));
        assert_eq!(ManagementUrl::parse_url("https://u:p@host").unwrap().origin, "https://host");
        for (text, problem) in [
            ("http://host:15672", "the user name or the password is missing"),
            ("amqp://u:hunter2@host", "start it with http:// or https://"),
            ("http://u:hunter2@/", "the host is missing"),
            ("http://u:hunter2@one,two", "several hosts"),
        ] {
            let error = ManagementUrl::problem(text).unwrap();
            assert!(error.contains(problem) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
