//! One of our binaries, as a real process.

use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::wait_until;

/// A running process. It is killed when this is dropped.
pub struct Process {
    pub name: String,
    child: Child,
    log: Log,
}

/// What a process has printed so far, a line each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Process {
    /// Starts `program` (`hamro-api`) with these variables and no others of ours, under a name for the log.
    pub fn start(
        name: &str,
        program: &str,
        arguments: &[&str],
        variables: &[(String, String)],
    ) -> Result<Self> {
        let path = binary(program)?;
        let mut child = Command::new(&path)
            .args(arguments)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", path.display()))?;
        let log = Log::default();
        log.collect(child.stdout.take());
        log.collect(child.stderr.take());
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Runs `program` to its end.
    pub async fn output(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Result<Output> {
        let path = binary(program)?;
        let mut command = Command::new(&path);
        command.args(arguments).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).output().await.with_context(|| format!("running {}", path.display()))
    }

    /// Its process id.
    pub fn id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// The rest of the first line that has `marker` in it, as soon as it is printed.
    pub async fn line_after(&mut self, marker: &str) -> Result<String> {
        let what = format!("{} prints {marker:?}", self.name);
        wait_until(&what, async || {
            if let Some(rest) = self.log.rest_after(marker) {
                return Ok(Some(rest));
            }
            match self.child.try_wait()? {
                Some(status) => bail!("{} has ended: {status}", self.name),
                None => Ok(None),
            }
        })
        .await
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.id()?.try_into()?), signal)?)
    }

    /// How much memory it has.
    pub fn resident_kilobytes(&self) -> Result<u64> {
        self.kilobytes("VmRSS:")
    }

    /// The most memory that it has had.
    pub fn peak_kilobytes(&self) -> Result<u64> {
        self.kilobytes("VmHWM:")
    }

    fn kilobytes(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let value = value.with_context(|| format!("no {name}"))?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    }

    /// Its exit status, once it has ended by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait_until(&format!("{name} ends"), async || Ok(self.child.try_wait()?)).await
    }

    /// Everything it has printed.
    pub fn printed(&self) -> String {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Log {
    fn collect(&self, output: Option<impl AsyncRead + Unpin + Send + 'static>) {
        let Some(output) = output else { return };
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }

    fn rest_after(&self, marker: &str) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find_map(|line| line.split_once(marker)).map(|(_, rest)| rest.to_owned())
    }
}

/// The binary of this build: it lies beside the directory of the test that is running.
fn binary(program: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let directory =
        test.parent().and_then(|deps| deps.parent()).context("the test has no build directory")?;
    let path = directory.join(program);
    if !path.exists() {
        bail!("{} is missing: build it with `cargo build --workspace --bins`", path.display());
    }
    Ok(path)
}
