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
        let outage = Self { remedy: Some(script(&["start", service])?) };
        run(script(&["kill", service])?)?;
        Ok(outage)
    }

    /// Kills the broker, once the names of this deployment's queues are on its disk. The broker writes them some
    /// seconds after a declaration. If it restarts before that, the quorum queue has no leader.
    pub async fn of_broker(deployment: &Deployment) -> Result<Self> {
        let quorum = format!("{}/rabbitmq/data/node/quorum", test_setting("HAMRO_STACK_DIR")?);
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
        .await?;
        Self::of("rabbitmq")
    }

    /// Stops all processes of the server with SIGSTOP. Its connections stay open but do not respond.
    pub fn freeze(service: &str) -> Result<Self> {
        let outage = Self { remedy: Some(script(&["thaw", service])?) };
        run(script(&["freeze", service])?)?;
        Ok(outage)
    }

    /// Triggers the broker's memory alarm.
    pub fn memory_alarm() -> Result<Self> {
        let watermark = |bytes| rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", bytes]);
        let outage = Self { remedy: Some(watermark("1GB")?) };
        run(watermark("1")?)?;
        Ok(outage)
    }

    /// Makes Postgres read-only, including open sessions, except in databases that override the setting.
    pub fn read_only() -> Result<Self> {
        let outage = Self { remedy: Some(reconfigure("ALTER SYSTEM RESET default_transaction_read_only")?) };
        run(reconfigure("ALTER SYSTEM SET default_transaction_read_only = on")?)?;
        Ok(outage)
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
        let outage = Self { remedy: Some(set_timeout(1_800_000, 60_000)?) };
        run(set_timeout(3_000, 1_000)?)?;
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

fn script(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/service.sh"));
    command.args(arguments).env("HAMRO_STACK_DIR", test_setting("HAMRO_STACK_DIR")?);
    Ok(command)
}

/// Changes the configuration of the running Postgres server.
fn reconfigure(statement: &str) -> Result<Command> {
    let mut command = Command::new("psql");
    let (url, reload) = (test_setting("DATABASE_URL")?, "SELECT pg_reload_conf()");
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

pub fn run(mut command: Command) -> Result<()> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    let output = [String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)].concat();
    ensure!(status.success(), "{command:?}: {output}");
    Ok(())
}
