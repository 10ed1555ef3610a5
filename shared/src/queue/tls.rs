//! TLS to RabbitMQ: the parameters `cacertfile`, `certfile`, `keyfile` and `verify` of `AMQP_URL`, as RabbitMQ names them.
//!
//! The certificate of the broker is always verified. Without `cacertfile`, the authorities of the system are trusted; with
//! it, only those in the file.

use std::path::PathBuf;

use lapin::tcp::{AMQPUriTcpExt, RustlsConnector, RustlsConnectorConfig, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::amqp_url::FORM;
use crate::config::Setting;
use crate::config::connection_url::{ConnectionUrl, UrlError};
use crate::tls::{Names, TlsProblem, files};

pub const NAMES: Names = Names {
    url: "AMQP_URL",
    authority: "the parameter cacertfile of AMQP_URL",
    client: "the parameters certfile and keyfile of AMQP_URL",
};

/// Whether a parameter of `AMQP_URL` is about TLS.
pub fn is_parameter(name: &str) -> bool {
    matches!(name, "cacertfile" | "certfile" | "keyfile" | "verify")
}

/// `AMQP_URL`, with the files that it names.
pub struct WithTls<T> {
    pub url: T,
    pub tls: TlsFiles,
}

impl<T: Setting> Setting for WithTls<T> {
    fn parse(text: &str) -> Option<Self> {
        Some(Self { url: T::parse(text)?, tls: TlsFiles::parse(text).ok()? })
    }

    fn problem(text: &str) -> Option<String> {
        T::problem(text).or_else(|| TlsFiles::parse(text).err().map(|error| error.to_string()))
    }

    fn secret_files(text: &str) -> Vec<(&'static str, PathBuf)> {
        let files = TlsFiles::parse(text).ok();
        files.and_then(|files| files.client).map(|client| ("keyfile", client.key)).into_iter().collect()
    }
}

/// The files for connections with TLS. They are read for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    authority: Option<PathBuf>,
    client: Option<ClientFiles>,
}

/// What proves to the broker who this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl TlsFiles {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let url = ConnectionUrl::parse(text, &FORM)?;
        let value = |wanted: &str| {
            let found = url.parameters.iter().rfind(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone())
        };
        if value("verify").is_some_and(|verify| verify != "verify_peer") {
            return Err(UrlError::new(
                "the certificate of the broker is always verified: remove the parameter verify, and name the certificate \
                 of a private authority in cacertfile",
            ));
        }
        let client = match (value("certfile"), value("keyfile")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(ClientFiles { certificate: certificate.into(), key: key.into() })
            }
            _ => return Err(UrlError::new("certfile and keyfile belong together: write both")),
        };
        let files = Self { authority: value("cacertfile").map(Into::into), client };
        if url.scheme != "amqps" && files != Self::default() {
            return Err(UrlError::new(
                "cacertfile, certfile and keyfile are for encrypted connections: start the URL with amqps://",
            ));
        }
        // A wrong path should be found at the start, and not by the first connection.
        files.connector().map_err(|error| {
            let problem = TlsProblem::of(error.as_ref(), &NAMES);
            UrlError::new(problem.map_or_else(|| error.to_string(), |problem| problem.to_string()))
        })?;
        Ok(files)
    }

    /// Reads the files. `None` if there are none.
    fn connector(&self) -> anyhow::Result<Option<RustlsConnector>> {
        if *self == Self::default() {
            return Ok(None);
        }
        let config = match &self.authority {
            Some(path) => {
                let authorities = files::certificates("cacertfile", path)?;
                RustlsConnectorConfig::default().with_parsable_certificates(authorities)
            }
            None => RustlsConnectorConfig::new_with_native_certs()?,
        };
        Ok(Some(match &self.client {
            Some(ClientFiles { certificate, key }) => config.connector_with_single_cert(
                files::certificates("certfile", certificate)?,
                files::private_key("keyfile", key)?,
            )?,
            None => config.connector_with_no_client_auth()?,
        }))
    }

    /// Connects to the broker, with TLS if the scheme of its URL says so.
    pub async fn connect(
        &self,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> anyhow::Result<Connection> {
        let runtime = lapin::runtime::default_runtime()?;
        let Some(connector) = self.connector()? else {
            let tls = lapin::tcp::OwnedTLSConfig::default();
            return Ok(Connection::connect_uri_with_config(uri, properties, tls, runtime).await?);
        };
        let connect = async move |uri: AMQPUri, runtime| {
            let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
            let stream = plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
            Ok(stream.into_rustls(&connector, &uri.authority.host).await?)
        };
        Ok(Connection::connector(uri, runtime, connect, properties).await?)
    }
}
