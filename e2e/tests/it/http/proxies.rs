//! The reverse proxies of Debian on the same machine: event streams, with compression switched on, and metrics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::{Deployment, Setup, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than any of the proxies needs, and shorter than the interval of the comments that keep a stream open.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Caddy,
    /// With HTTP/1.1 to the api.
    Nginx,
    /// With HTTP/1.0 to the api, which is the default.
    NginxDefault,
}

/// A proxy that listens on a socket in its own directory, and removes both when it is dropped.
struct ReverseProxy {
    directory: PathBuf,
    _process: Child,
}

impl ReverseProxy {
    async fn start(kind: Kind, api: &str) -> Result<Self> {
        // A short path: that of a socket has at most 107 bytes.
        let directory = std::env::temp_dir().join(format!("hamro-proxy-{:08x}", rand::random::<u32>()));
        fs::create_dir(&directory)?;
        let (socket, config) = (directory.join("socket"), directory.join("config"));
        let (program, arguments, text) = match kind {
            Kind::Caddy => ("caddy", CADDY_ARGUMENTS, caddyfile(&socket, api)),
            Kind::Nginx => {
                ("nginx", NGINX_ARGUMENTS, nginx_config(&directory, api, "proxy_http_version 1.1;"))
            }
            Kind::NginxDefault => ("nginx", NGINX_ARGUMENTS, nginx_config(&directory, api, "")),
        };
        fs::write(&config, text)?;
        let log = fs::File::create(directory.join("log"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let process = Command::new(program)
            .args(arguments)
            .arg(&config)
            // Debian installs nginx there.
            .env("PATH", format!("{}:/usr/sbin", path.to_string_lossy()))
            .env("HOME", &directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{program} cannot be started. `make test` installs it; otherwise, as root: apt-get install {program}"))?;
        let proxy = Self { directory, _process: process };
        wait_until(&format!("{program} listens"), async || Ok(proxy.connect().await.ok()))
            .await
            .with_context(|| fs::read_to_string(proxy.directory.join("log")).unwrap_or_default())?;
        Ok(proxy)
    }

    async fn connect(&self) -> Result<UnixStream> {
        Ok(UnixStream::connect(self.directory.join("socket")).await?)
    }

    /// Requests an event stream and reads until its first event.
    async fn first_event(&self, path: &str) -> Result<(UnixStream, String)> {
        let mut connection = self.connect().await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, br, zstd\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let received = read_until(&mut connection, "\ndata: ").await.context(path.to_owned())?;
        Ok((connection, received))
    }
}

/// Reads until the text has arrived. Returns all that was received.
async fn read_until(connection: &mut UnixStream, text: &str) -> Result<String> {
    let mut received = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&received).contains(text) {
            ensure!(connection.read_buf(&mut received).await? > 0, "the stream ended");
        }
        Ok(())
    };
    let read = timeout(EVENT_TIMEOUT, reading).await.context("timed out").and_then(|read| read);
    let received = String::from_utf8_lossy(&received).into_owned();
    read.with_context(|| format!("waiting for {text:?}, received {received:?}")).map(|()| received)
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn caddyfile(socket: &Path, api: &str) -> String {
    format!(
        "{{\n admin off\n auto_https off\n}}\nhttp:// {{\n bind unix/{}\n encode zstd gzip\n reverse_proxy {api}\n}}\n",
        socket.display()
    )
}

const CADDY_ARGUMENTS: [&str; 4] = ["run", "--adapter", "caddyfile", "--config"];

const NGINX_ARGUMENTS: [&str; 4] = ["-e", "stderr", "-q", "-c"];

fn nginx_config(directory: &Path, api: &str, version: &str) -> String {
    let directory = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|module| format!("{module}_temp_path {directory}/{module};\n"))
        .concat();
    format!(
        "daemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         gzip on;\ngzip_types *;\ngzip_min_length 1;\ngzip_proxied any;\n\
         server {{ listen unix:{directory}/socket; location / {{ proxy_pass http://{api}; {version} }} }}\n}}\n"
    )
}

#[tokio::test]
async fn events_arrive_at_once_through_proxies_that_compress() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let mut streams = Vec::new();
        for mode in ["detached", "hyper"] {
            let api = deployment.start_api(&[("EVENT_STREAMS", mode)]).await?;
            let client = deployment.apis[api].client.clone();
            let (concert, _) = client.seat_map(0).await?;
            for kind in [Kind::Caddy, Kind::Nginx, Kind::NginxDefault] {
                let proxy = ReverseProxy::start(kind, client.address()).await?;
                // Without a worker, the ticket stays queued and its stream open.
                let seat = client.seat_ids(0).await?[streams.len()];
                let accepted = client.create_booking("alice", &[seat]).await?;
                let status = format!("{}/events", accepted.location()?);
                let (status, received) =
                    proxy.first_event(&status).await.with_context(|| format!("{kind:?}, {mode}"))?;
                assert!(received.contains("\"status\":\"queued\""), "{kind:?}, {mode}: {received}");
                let seats = format!("/seats/concert/{concert}/events");
                let (_, received) =
                    proxy.first_event(&seats).await.with_context(|| format!("{kind:?}, {mode}"))?;
                assert!(received.contains("\"availableSeats\""), "{kind:?}, {mode}: {received}");
                streams.push((proxy, status));
            }
        }
        deployment.start_worker(&[]).await?;
        for (_, stream) in &mut streams {
            read_until(stream, "\"status\":\"confirmed\"").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn metrics_are_not_shown_through_a_proxy_on_the_same_machine() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        // Those that add no header: Caddy for clients of a Unix socket, and nginx with HTTP/1.1.
        let trusted = Some(("TRUSTED_PROXIES", "127.0.0.1"));
        for (kind, host, settings) in [
            (Kind::Caddy, "shop.example.com", None),
            (Kind::NginxDefault, "localhost", None),
            (Kind::Nginx, "localhost", trusted),
            (Kind::Caddy, "localhost", trusted),
        ] {
            let api = deployment.start_api(settings.as_slice()).await?;
            let proxy = ReverseProxy::start(kind, deployment.apis[api].client.address()).await?;
            let mut connection = proxy.connect().await?;
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
            connection.write_all(request.as_bytes()).await?;
            let response = read_until(&mut connection, "\r\n\r\n").await?;
            assert!(response.starts_with("HTTP/1.1 401 "), "{kind:?}, {settings:?}: {response}");
        }
        Ok(())
    })
    .await
}
