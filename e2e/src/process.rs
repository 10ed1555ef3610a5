//! A process that runs one of the project's binaries.

use std::fs::OpenOptions;
use std::io::{ErrorKind, PipeReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use hamro_verification::processes;
use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::metrics::Metrics;
use crate::wait_until;

/// A running process. Dropping it kills the process.
pub struct Process {
    pub name: String,
    child: Child,
    log: Log,
    collectors: Vec<Collector>,
    stop_reading: CancellationToken,
    /// Pipes that are open but no longer read.
    unread: Vec<Pipe>,
    stalled: Option<PipeReader>,
}

/// The reading end of a pipe that a process prints to.
type Pipe = Box<dyn AsyncRead + Unpin + Send + Sync>;

/// A task that reads the output of a process until it is asked to stop. Then it returns the pipe.
type Collector = JoinHandle<Option<Pipe>>;

/// Output of a process that is never read.
#[derive(Clone, Copy, Debug)]
pub enum Sink {
    /// A full pipe.
    StalledPipe,
    /// A pipe whose reader is closed.
    ClosedPipe,
    /// Every write fails.
    FullDisk,
    /// Neither stdout nor stderr is open.
    Closed,
}

impl Sink {
    pub const ALL: [Self; 4] = [Self::StalledPipe, Self::ClosedPipe, Self::FullDisk, Self::Closed];
}

/// The lines that a process has printed so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Process {
    /// Starts `program` (such as `hamro-api`, or the path of another build's) with only these environment variables. `name` identifies the process in
    /// messages.
    pub fn start(
        name: &str,
        program: &str,
        arguments: &[&str],
        variables: &[(String, String)],
    ) -> Result<Self> {
        let mut command = Command::new(binary(program)?);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(name, command, variables)
    }

    /// Starts a process that may have only this many open files.
    pub fn start_with_open_files(
        name: &str,
        program: &str,
        open_files: u32,
        variables: &[(String, String)],
    ) -> Result<Self> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!(r#"ulimit -n {open_files}; exec "$0""#)).arg(binary(program)?);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(name, command, variables)
    }

    /// Starts a process whose output is never read.
    pub fn start_unread(
        name: &str,
        program: &str,
        arguments: &[&str],
        variables: &[(String, String)],
        sink: Sink,
    ) -> Result<Self> {
        let path = binary(program)?;
        let mut command = Command::new("sh");
        let script = match sink {
            Sink::StalledPipe | Sink::ClosedPipe => r#"exec "$0" "$@""#,
            Sink::FullDisk => r#"exec "$0" "$@" >/dev/full 2>/dev/full"#,
            Sink::Closed => r#"exec "$0" "$@" >&- 2>&-"#,
        };
        let (reader, writer) = std::io::pipe()?;
        if matches!(sink, Sink::StalledPipe) {
            fill_pipe(&format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
        }
        command.args(["-c", script]).arg(path).args(arguments).stdout(writer.try_clone()?).stderr(writer);
        let mut process = Self::spawn(name, command, variables)?;
        process.stalled = matches!(sink, Sink::StalledPipe).then_some(reader);
        Ok(process)
    }

    fn spawn(name: &str, mut command: Command, variables: &[(String, String)]) -> Result<Self> {
        let mut child = command
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (log, stop_reading) = (Log::default(), CancellationToken::new());
        let stdout = child.stdout.take().map(|pipe| log.collect(Box::new(pipe), stop_reading.clone()));
        let stderr = child.stderr.take().map(|pipe| log.collect(Box::new(pipe), stop_reading.clone()));
        let collectors = stdout.into_iter().chain(stderr).collect();
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            collectors,
            stop_reading,
            unread: Vec::new(),
            stalled: None,
        })
    }

    /// Stops reading the output, and fills the pipes so that every further write blocks.
    pub async fn stall_output(&mut self) -> Result<()> {
        self.stop_reading().await?;
        for descriptor in [1, 2] {
            fill_pipe(&format!("/proc/{}/fd/{descriptor}", self.id()?))?;
        }
        Ok(())
    }

    /// Resumes reading the output.
    pub fn resume_output(&mut self) {
        self.stop_reading = CancellationToken::new();
        let unread = std::mem::take(&mut self.unread);
        self.collectors =
            unread.into_iter().map(|pipe| self.log.collect(pipe, self.stop_reading.clone())).collect();
    }

    async fn stop_reading(&mut self) -> Result<()> {
        self.stop_reading.cancel();
        for collector in std::mem::take(&mut self.collectors) {
            self.unread.push(collector.await?.with_context(|| format!("{} has ended", self.name))?);
        }
        Ok(())
    }

    /// Runs `program` until it exits.
    pub async fn output(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Result<Output> {
        let path = binary(program)?;
        let mut command = Command::new(&path);
        command.args(arguments).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).output().await.with_context(|| format!("running {}", path.display()))
    }

    /// The process id.
    pub fn id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// Waits for a line that contains `marker`, and returns the rest of the first such line.
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

    /// What the process exports now.
    pub async fn metrics(&mut self) -> Result<Metrics> {
        Metrics::parse(&self.metrics_page("/metrics").await?)
    }

    /// A page of the listener for metrics: `/metrics`, or `/`, which describes them.
    pub async fn metrics_page(&mut self, path: &str) -> Result<String> {
        let address = self.line_after("serving metrics on ").await?;
        let client = Client::new(address.trim().trim_end_matches("/metrics"));
        let response = client.request(Method::GET, path).send().await?;
        ensure!(response.status == 200, "{path}: {response:?}");
        Ok(String::from_utf8(response.body.into())?)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.id()?.try_into()?), signal)?)
    }

    /// Resident memory.
    pub fn resident_kilobytes(&self) -> Result<u64> {
        self.watched()?.resident_kilobytes().with_context(|| format!("{} has ended", self.name))
    }

    /// Peak resident memory.
    pub fn peak_kilobytes(&self) -> Result<u64> {
        self.watched()?.peak_kilobytes().with_context(|| format!("{} has ended", self.name))
    }

    fn watched(&self) -> Result<processes::Process> {
        Ok(processes::Process { name: self.name.clone(), pid: self.id()?.try_into()? })
    }

    /// Waits until the process exits, and returns its status.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait_until(&format!("{name} ends"), async || Ok(self.child.try_wait()?)).await
    }

    /// Everything that the process has printed.
    pub fn printed(&self) -> String {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Log {
    fn collect(&self, pipe: Pipe, stop: CancellationToken) -> Collector {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Some(line) = stop.run_until_cancelled(lines.next_line()).await {
                let line = line.ok().flatten()?;
                // What `fill_pipe` writes is a hundred thousand empty lines.
                if line.is_empty() {
                    continue;
                }
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            Some(lines.into_inner().into_inner())
        })
    }

    fn rest_after(&self, marker: &str) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find_map(|line| line.split_once(marker)).map(|(_, rest)| rest.to_owned())
    }
}

/// Writes to a pipe until it is full.
fn fill_pipe(path: &str) -> Result<()> {
    // Opened again, so that only this descriptor is non-blocking.
    let mut pipe =
        OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(Path::new(path))?;
    for size in [4096, 1] {
        loop {
            match pipe.write(&vec![b'\n'; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The path of a binary of this build. It is in the directory of the running benchmark, or in the parent directory of
/// the running test.
fn binary(program: &str) -> Result<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let this = std::env::current_exe()?;
    let directories = this.ancestors().skip(1).take(2);
    directories
        .map(|directory| directory.join(program))
        .find(|path| path.exists())
        .with_context(|| format!("{program} is missing: build it with `cargo build --workspace --bins`"))
}
