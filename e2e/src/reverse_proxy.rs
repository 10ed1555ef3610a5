//! A reverse proxy of Debian in front of the api, with the configuration in `deploy/proxy/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_verification::http::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::outage::run;
use crate::wait_until;

const NGINX: &str = include_str!("../../deploy/proxy/nginx.conf");
const CADDY: &str = include_str!("../../deploy/proxy/Caddyfile");

/// More connections than a test opens, and longer than the api holds any request.
const CONNECTIONS_MAX: usize = 1_024;
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    Caddy,
    Nginx,
}

/// Where clients see the api.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Root,
    /// Below `/tickets/`.
    Path,
}

/// A running proxy, which listens on a port of its own with TLS. Dropping it stops it and removes its files.
pub struct ReverseProxy {
    pub port: u16,
    certificate: Vec<u8>,
    directory: PathBuf,
    process: Child,
}

/// A port that nobody listens on. It stays free as far as nobody else looks for a port at the same moment.
pub async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

impl ReverseProxy {
    /// Starts a proxy in front of two instances of the api on this machine.
    pub async fn start(kind: ProxyKind, place: Place, apis: [u16; 2]) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("hamro-proxy-{:08x}", rand::random::<u32>()));
        fs::create_dir(&directory)?;
        let certificate = make_certificate(&directory)?;
        let port = free_port().await?;
        let (program, text) = match kind {
            ProxyKind::Caddy => ("caddy", caddyfile(&directory, port, apis, place)?),
            ProxyKind::Nginx => ("nginx", nginx_configuration(&directory, port, apis, place)?),
        };
        let configuration = directory.join("configuration");
        fs::write(&configuration, text)?;
        let mut command = Command::new(program);
        match kind {
            ProxyKind::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&configuration)
            }
            ProxyKind::Nginx => command.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(&configuration),
        };
        let log = fs::File::create(directory.join("output"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let process = command
            // Debian installs nginx there.
            .env("PATH", format!("{}:/usr/sbin", path.to_string_lossy()))
            .env("HOME", &directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{program} cannot be started. `make test` installs it; otherwise, as root: apt-get install {program}"))?;
        let proxy = Self { port, certificate, directory, process };
        wait_until(&format!("{program} listens"), async || {
            Ok(TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await
        .with_context(|| proxy.printed())?;
        Ok(proxy)
    }

    /// A client that uses TLS and HTTP/2.
    pub fn client(&self) -> Result<Client> {
        Client::trusting(&self.certificate, self.port, CONNECTIONS_MAX, RESPONSE_TIMEOUT)
    }

    /// All that it has printed and logged.
    pub fn printed(&self) -> String {
        let logs = ["output", "access.log", "error.log"];
        logs.map(|log| fs::read_to_string(self.directory.join(log)).unwrap_or_default()).concat()
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // SIGKILL would leave the workers of nginx behind.
        if let Some(pid) = self.process.id().and_then(|pid| pid.try_into().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A certificate for `localhost` that signs itself.
fn make_certificate(directory: &Path) -> Result<Vec<u8>> {
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"]).arg(&certificate);
    openssl.arg("-keyout").arg(&key);
    run(openssl)?;
    Ok(fs::read(certificate)?)
}

fn nginx_configuration(directory: &Path, port: u16, apis: [u16; 2], place: Place) -> Result<String> {
    let directory = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|module| format!("    {module}_temp_path {directory}/{module};\n"))
        .concat();
    replace(
        NGINX,
        &[
            ("/run/nginx.pid", &format!("{directory}/pid")),
            ("/var/log/nginx", &directory.to_string()),
            ("/var/lib/nginx/hamro-concert", &format!("{directory}/cache")),
            ("/etc/ssl/certs/tickets.pem", &format!("{directory}/certificate.pem")),
            ("/etc/ssl/private/tickets.key", &format!("{directory}/key.pem")),
            ("listen 80 default_server;", &format!("listen unix:{directory}/plain;")),
            ("listen [::]:80 default_server;", ""),
            ("listen 443 ssl http2;", &format!("listen 127.0.0.1:{port} ssl http2;")),
            ("listen [::]:443 ssl http2;", ""),
            ("127.0.0.1:3000 max", &format!("127.0.0.1:{} max", apis[0])),
            ("127.0.0.1:3001 max", &format!("127.0.0.1:{} max", apis[1])),
            ("http {\n", &format!("http {{\n{temporary}")),
            ("#path ", if place == Place::Path { "" } else { "#path " }),
        ],
    )
}

fn caddyfile(directory: &Path, port: u16, apis: [u16; 2], place: Place) -> Result<String> {
    let directory = directory.display();
    let tls = format!("tls {directory}/certificate.pem {directory}/key.pem");
    let (root, path) = match place {
        Place::Root => ("import hamro_concert", "#path "),
        Place::Path => ("", ""),
    };
    replace(
        CADDY,
        &[
            ("{\n\t# Errors", "{\n\tadmin off\n\tauto_https disable_redirects\n\t# Errors"),
            ("tickets.example.com {", &format!("https://localhost:{port} {{\n\tbind 127.0.0.1\n\t{tls}")),
            ("127.0.0.1:3000 127.0.0.1:3001", &format!("127.0.0.1:{} 127.0.0.1:{}", apis[0], apis[1])),
            ("import hamro_concert #root", root),
            ("#path ", path),
        ],
    )
}

/// Replaces each text, which must be there.
fn replace(text: &str, replacements: &[(&str, &str)]) -> Result<String> {
    let mut text = text.to_owned();
    for (from, to) in replacements {
        ensure!(text.contains(from), "the configuration has no {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}
