//! A private server whose data is on a small disk, which a test can fill. Other tests do not use this server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::outage::{Outage, run, script, wait_for_queue_on_disk};
use crate::{Deployment, wait_until};

/// Megabytes. A new server uses a sixth of it.
const SIZE: &str = "256";

/// The exit status of the scripts if this machine does not allow small disks: see `deploy/dev/small-disk.sh`.
const NOT_ALLOWED: i32 = 77;

/// A running server. Dropping it stops the server.
pub struct SmallDisk {
    service: &'static str,
    /// The directory of its stack.
    directory: String,
    url: String,
    /// Only of Postgres.
    superuser_url: String,
    stack: Child,
    /// Kept open, because the script still prints messages.
    _output: BufReader<ChildStdout>,
}

impl SmallDisk {
    /// Starts Postgres in a stack with this name. Returns `None` if this machine does not allow small disks; `make test`
    /// reports that the tests are skipped.
    pub fn postgres(stack: &str) -> Result<Option<Self>> {
        Self::start("postgres", "DATABASE_URL", stack)
    }

    /// The same for the broker. It raises its disk alarm while less than a quarter of the disk is free.
    pub fn broker(stack: &str) -> Result<Option<Self>> {
        Self::start("rabbitmq", "AMQP_URL", stack)
    }

    fn start(service: &'static str, variable: &str, name: &str) -> Result<Option<Self>> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/with-stack.sh"));
        // The stack runs until stdin is closed, which also happens if this process is killed.
        let until_closed =
            format!("echo \"ready $HAMRO_STACK_DIR ${variable} $HAMRO_SUPERUSER_URL\"; exec cat");
        command.args(["--disk", SIZE, "--only", service, name, "--", "sh", "-c", &until_closed]);
        let mut stack = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(stack.stdout.take().context("no stdout")?);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            let mut words = line.split_whitespace();
            if words.next() == Some("ready") {
                let mut next = || words.next().unwrap_or_default().to_owned();
                let (directory, url, superuser_url) = (next(), next(), next());
                return Ok(Some(Self { service, directory, url, superuser_url, stack, _output: output }));
            }
            line.clear();
        }
        let status = stack.wait()?;
        ensure!(status.code() == Some(NOT_ALLOWED), "{command:?} ended with {status}");
        eprintln!("SKIPPED: this machine does not allow small disks");
        Ok(None)
    }

    /// The server's URL, for a [`Setup`](crate::Setup).
    pub fn url(&self) -> &'static str {
        self.url.clone().leak()
    }

    /// Makes Postgres use up its log files until it fails.
    pub async fn use_up_log_files(&self) -> Result<()> {
        let mut superuser = PgConnection::connect(&self.superuser_url).await?;
        let use_up_one = "SELECT pg_switch_wal(), pg_logical_emit_message(true, '', '')";
        while sqlx::query(use_up_one).execute(&mut superuser).await.is_ok() {}
        Ok(())
    }

    /// Fills the disk, except for this many megabytes.
    pub fn fill(&self, leave: u32) -> Result<Outage> {
        let leave = leave.to_string();
        let control = |arguments: &[&str]| script(&self.directory, arguments);
        Outage::inject(control(&["fill", self.service, &leave]), control(&["empty", self.service]))
    }

    /// Disables the broker's disk alarm, so that the broker writes until the disk is full.
    pub fn disable_alarm(&self) -> Result<()> {
        self.rabbitmqctl(&["set_disk_free_limit", "1"])
    }

    /// Makes the broker measure its free disk space twice a second. The default is every ten seconds during an alarm.
    pub fn measure_often(&self) -> Result<()> {
        self.rabbitmqctl(&["eval", "rabbit_disk_monitor:set_max_check_interval(500)."])
    }

    fn rabbitmqctl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(format!("{}/rabbitmqctl", self.directory));
        command.args(arguments);
        run(command)
    }

    /// Waits until the names of this deployment's queues are on the disk: see [`Deployment::queue_is_stored`].
    pub async fn has_stored_queue(&self, deployment: &Deployment) -> Result<()> {
        // The disk is mounted in another namespace.
        let data = format!("/proc/{}/root{}/rabbitmq/data", self.process_id("script")?, self.directory);
        wait_for_queue_on_disk(&data, deployment).await
    }

    /// Waits until the server prints this text.
    pub async fn prints(&self, text: &str) -> Result<()> {
        let log = format!("{}/logs/{}.log", self.directory, self.service);
        wait_until(&format!("{} prints {text:?}", self.service), async || {
            Ok(String::from_utf8_lossy(&fs::read(&log)?).contains(text).then_some(()))
        })
        .await
    }

    /// Waits until the server has ended by itself.
    pub async fn ended(&self) -> Result<()> {
        let process = format!("/proc/{}", self.process_id(self.service)?);
        wait_until(&format!("{} has ended", self.service), async || {
            Ok((!Path::new(&process).exists()).then_some(()))
        })
        .await
    }

    pub fn kill(&self) -> Result<()> {
        run(script(&self.directory, &["kill", self.service]))
    }

    /// Starts the server again after it has ended, and waits until it is ready.
    pub fn start_again(&self) -> Result<()> {
        run(script(&self.directory, &["start", self.service]))
    }

    fn process_id(&self, of: &str) -> Result<u32> {
        let file = fs::read_to_string(format!("{}/pids/{of}", self.directory))?;
        let id = file.split(' ').next().and_then(|id| id.parse().ok());
        id.with_context(|| format!("no process id in {file:?}"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.stack.stdin.take());
        if let Err(error) = self.stack.wait() {
            eprintln!("{error}");
        }
    }
}
