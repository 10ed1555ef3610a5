//! Outages of the servers that all tests share. A test that causes an outage must run alone: see
//! `.config/nextest.toml`.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::deployment::test_setting;
use crate::{Deployment, wait_until};

/// An outage of a server. Dropping it ends the outage.
pub struct Outage {
    remedy: Option<Command>,
}

impl Outage {
    /// Kills the server: `postgres` or `rabbitmq`. The remedy starts it and waits until it is ready.
    pub fn of(service: &str) -> Result<Self> {
        Self::inject(shared(&["kill", service])?, shared(&["start", service])?)
    }

    /// Kills the broker, once the names of this deployment's queues are on its disk.
    pub async fn of_broker(deployment: &Deployment) -> Result<Self> {
        deployment.queue_is_stored().await?;
        Self::of("rabbitmq")
    }

    /// Shuts the server down in an orderly way.
    pub fn shutdown(service: &str) -> Result<Self> {
        Self::inject(shared(&["stop", service])?, shared(&["start", service])?)
    }

    /// Stops all processes of the server with SIGSTOP. Its connections stay open but do not respond.
    pub fn freeze(service: &str) -> Result<Self> {
        Self::inject(shared(&["freeze", service])?, shared(&["thaw", service])?)
    }

    /// Triggers the broker's memory alarm.
    pub fn memory_alarm() -> Result<Self> {
        let watermark = |bytes| rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", bytes]);
        Self::inject(watermark("1")?, watermark("1GB")?)
    }

    /// Makes Postgres read-only, including open sessions, except in databases that override the setting.
    pub fn read_only() -> Result<Self> {
        Self::inject(
            reconfigure("ALTER SYSTEM SET default_transaction_read_only = on")?,
            reconfigure("ALTER SYSTEM RESET default_transaction_read_only")?,
        )
    }

    /// Makes the broker close channels whose consumers do not acknowledge within three seconds, with a check every
    /// second. Applies to channels that are opened afterwards.
    pub fn impatience_with_consumers() -> Result<Self> {
        let set_timeout = |timeout: u32, interval: u32| {
            rabbitmqctl(&[
                "eval",
                &format!(
                    "application:set_env(rabbit, consumer_timeout, {timeout}), \
                     application:set_env(rabbit, channel_tick_interval, {interval})."
                ),
            ])
        };
        Self::inject(set_timeout(3_000, 1_000)?, set_timeout(1_800_000, 60_000)?)
    }

    /// Starts an outage. The remedy runs even if the fault could only be injected in part.
    pub(crate) fn inject(fault: Command, remedy: Command) -> Result<Self> {
        let outage = Self { remedy: Some(remedy) };
        run(fault)?;
        Ok(outage)
    }

    pub fn end(mut self) -> Result<()> {
        self.remedy.take().map_or(Ok(()), run)
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.remedy.take().map(run) {
            eprintln!("{error:#}");
        }
    }
}

impl Deployment {
    /// Waits until the names of the queues are on the disk of the shared broker. The broker writes them some seconds
    /// after a declaration. If it restarts before that, the quorum queue has no leader.
    pub async fn queue_is_stored(&self) -> Result<()> {
        let data = format!("{}/rabbitmq/data", test_setting("HAMRO_STACK_DIR")?);
        wait_for_queue_on_disk(&data, self).await
    }
}

/// Waits until the name of the intake queue is in the broker's data directory.
pub(crate) async fn wait_for_queue_on_disk(data: &str, deployment: &Deployment) -> Result<()> {
    let quorum = format!("{data}/node/quorum");
    let queue = deployment.topology.intake_queue();
    wait_until("the broker has stored the name of the queue", async || {
        for node in fs::read_dir(&quorum)? {
            let names = fs::read(node?.path().join("names.dets"))?;
            if names.windows(queue.len()).any(|name| name == queue.as_bytes()) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .await
}

/// Controls a server of the stack in this directory.
pub(crate) fn script(stack: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/service.sh"));
    command.args(arguments).env("HAMRO_STACK_DIR", stack);
    command
}

/// Controls a server that all tests share.
fn shared(arguments: &[&str]) -> Result<Command> {
    Ok(script(&test_setting("HAMRO_STACK_DIR")?, arguments))
}

/// Changes the configuration of the running Postgres server.
fn reconfigure(statement: &str) -> Result<Command> {
    let mut command = Command::new("psql");
    let (url, reload) = (test_setting("HAMRO_SUPERUSER_URL")?, "SELECT pg_reload_conf()");
    command.args(["--no-psqlrc", "--quiet", "--dbname", &url, "--command", statement, "--command", reload]);
    // The remedy runs in a session that the outage would make read-only.
    command.env("PGOPTIONS", "-c default_transaction_read_only=off");
    Ok(command)
}

/// A `rabbitmqctl` command for the broker of the tests.
pub fn rabbitmqctl(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(format!("{}/rabbitmqctl", test_setting("HAMRO_STACK_DIR")?));
    command.args(arguments);
    Ok(command)
}

/// Runs the command on another thread: it may take seconds, in which the connections of the test must go on.
pub async fn run_aside(command: Command) -> Result<()> {
    tokio::task::spawn_blocking(move || run(command)).await?
}

pub fn run(mut command: Command) -> Result<()> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    let output = [String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)].concat();
    ensure!(status.success(), "{command:?}: {output}");
    Ok(())
}
