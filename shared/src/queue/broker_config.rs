//! The settings of the connections to the broker.

use super::BrokerUrl;
use super::tls::{TlsFiles, WithTls};
use crate::config::Env;

#[derive(Clone)]
pub struct BrokerConfig {
    pub(super) url: BrokerUrl,
    pub(super) tls: TlsFiles,
    pub(super) prefix: String,
    pub(super) declares: bool,
}

impl BrokerConfig {
    /// `AMQP_URL`, and `QUEUE_PREFIX` for installations that share a virtual host.
    pub fn read(env: &mut Env) -> Option<Self> {
        let url = env
            .variable(
                "AMQP_URL",
                "Address and credentials of RabbitMQ, or the addresses of several nodes of a cluster. With amqps:// the connections are encrypted.",
                "amqp://user:password@host:5672/%2f, or with several nodes amqp://user:password@one:5672,two:5672,three:5672/%2f",
            )
            .secret()
            .with_password("AMQP_PASSWORD")
            .required::<WithTls<BrokerUrl>>();
        let prefix = env
            .variable(
                "QUEUE_PREFIX",
                "Start of the names of all queues and exchanges, for installations that share a virtual host.",
                "a text such as staging-",
            )
            .optional();
        let declares = env
            .variable(
                "DECLARE_TOPOLOGY",
                "Whether to declare the exchanges and queues, which needs the configure right. Without it they must exist.",
                "true or false",
            )
            .or_default("true");
        let WithTls { url, tls } = url?;
        Some(Self { url, tls, prefix: prefix?.unwrap_or_default(), declares: declares? })
    }

    /// One configuration for each node, which only looks for the topology and never declares it.
    pub fn for_inspection(&self) -> Vec<Self> {
        let of_node = |url| Self { url, tls: self.tls.clone(), prefix: self.prefix.clone(), declares: false };
        self.url.split().map(of_node).collect()
    }

    pub fn virtual_host(&self) -> &str {
        self.url.nodes().first().map(|node| node.vhost.as_str()).unwrap_or_default()
    }
}
