//! A private server whose data is on a small disk, which a test can fill. Other tests do not use this server.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::outage::{Outage, run, script, wait_for_queue_on_disk};
use crate::private_stack::PrivateStack;
use crate::{Deployment, wait_until};

/// Megabytes. A new server uses a sixth of it.
const SIZE: &str = "256";

/// A running server. Dropping it stops the server.
pub struct SmallDisk {
    service: &'static str,
    url: String,
    /// Only of Postgres.
    superuser_url: String,
    stack: PrivateStack,
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
        let options = ["--disk", SIZE, "--only", service];
        let Some((stack, [url, superuser_url])) =
            PrivateStack::start(name, &options, [variable, "HAMRO_SUPERUSER_URL"])?
        else {
            eprintln!("SKIPPED: this machine does not allow small disks");
            return Ok(None);
        };
        Ok(Some(Self { service, url, superuser_url, stack }))
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
        let control = |arguments: &[&str]| script(&self.stack.directory, arguments);
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
        let mut command = Command::new(format!("{}/rabbitmqctl", self.stack.directory));
        command.args(arguments);
        run(command)
    }

    /// Waits until the names of this deployment's queues are on the disk: see [`Deployment::queue_is_stored`].
    pub async fn has_stored_queue(&self, deployment: &Deployment) -> Result<()> {
        // The disk is mounted in another namespace.
        let data =
            format!("/proc/{}/root{}/rabbitmq/data", self.stack.process_id("script")?, self.stack.directory);
        wait_for_queue_on_disk(&data, deployment).await
    }

    /// Waits until the server prints this text.
    pub async fn prints(&self, text: &str) -> Result<()> {
        let log = format!("{}/logs/{}.log", self.stack.directory, self.service);
        wait_until(&format!("{} prints {text:?}", self.service), async || {
            Ok(String::from_utf8_lossy(&fs::read(&log)?).contains(text).then_some(()))
        })
        .await
    }

    /// Waits until the server has ended by itself.
    pub async fn ended(&self) -> Result<()> {
        let process = format!("/proc/{}", self.stack.process_id(self.service)?);
        wait_until(&format!("{} has ended", self.service), async || {
            Ok((!Path::new(&process).exists()).then_some(()))
        })
        .await
    }

    pub fn kill(&self) -> Result<()> {
        run(script(&self.stack.directory, &["kill", self.service]))
    }

    /// Starts the server again after it has ended, and waits until it is ready.
    pub fn start_again(&self) -> Result<()> {
        run(script(&self.stack.directory, &["start", self.service]))
    }
}
