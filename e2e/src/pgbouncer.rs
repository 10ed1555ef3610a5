//! A private PgBouncer in front of the Postgres of the tests.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::{env, fs};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::proxy::split_url;
use crate::{Deployment, wait_until};

/// Stopped and removed when it is dropped.
pub struct PgBouncer {
    /// The `DATABASE_URL` that leads through it.
    pub url: String,
    directory: PathBuf,
    _process: Child,
}

impl Deployment {
    /// Starts a PgBouncer with these settings, one per line.
    pub async fn pgbouncer(&self, settings: &str) -> Result<PgBouncer> {
        let variables = self.environment(&[]);
        let url = variables.iter().find(|(name, _)| name == "DATABASE_URL").context("no DATABASE_URL")?;
        let (scheme_and_user, server, path) = split_url(&url.1)?;
        let (host, port) = server.split_once(':').context("no port")?;
        let (user, password) =
            scheme_and_user.trim_start_matches("postgres://").split_once(':').context("no password")?;
        // Free until PgBouncer takes it, as far as nobody else looks for a port at the same moment.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;

        let directory = env::temp_dir().join(format!("hamro-pgbouncer-{}", Uuid::from_u128(rand::random())));
        fs::create_dir(&directory)?;
        let (users, config) = (directory.join("users.txt"), directory.join("pgbouncer.ini"));
        fs::write(&users, format!("\"{user}\" \"{password}\"\n"))?;
        fs::write(
            &config,
            format!(
                "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
                 unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n{settings}\n",
                address.port(),
                users.display()
            ),
        )?;
        let process = command()
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting pgbouncer: `make test` installs it")?;
        wait_until("PgBouncer listens", async || Ok(TcpStream::connect(address).await.ok())).await?;
        let url = format!("{scheme_and_user}@{address}/{path}");
        Ok(PgBouncer { url, directory, _process: process })
    }
}

/// PgBouncer refuses to run as root.
fn command() -> Command {
    if fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", "/usr/sbin/pgbouncer"]);
        command
    } else {
        let mut command = Command::new("pgbouncer");
        let path = env::var_os("PATH").unwrap_or_default();
        command.env("PATH", [path.to_string_lossy().as_ref(), "/usr/sbin"].join(":"));
        command
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Best effort: it is in the directory of temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
