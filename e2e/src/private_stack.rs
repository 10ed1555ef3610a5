//! A stack of its own for a test that needs other servers than all tests share.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The exit status of the scripts if this machine does not allow small disks: see `deploy/dev/small-disk.sh`.
const NOT_ALLOWED: i32 = 77;

/// The servers of a test. Dropping it stops them.
pub struct PrivateStack {
    /// `.dev/NAME`.
    pub directory: String,
    stack: Child,
    /// Kept open, because the script still prints messages.
    _output: BufReader<ChildStdout>,
}

impl PrivateStack {
    /// Starts `deploy/dev/with-stack.sh OPTIONS NAME`, and reads these variables of its environment, which are empty if they are
    /// not set there. Returns `None` if this machine does not allow it.
    pub fn start<const N: usize>(
        name: &str,
        options: &[&str],
        variables: [&str; N],
    ) -> Result<Option<(Self, [String; N])>> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/with-stack.sh"));
        let values = variables.map(|variable| format!(r#" "${{{variable}:-}}""#)).concat();
        // The stack runs until stdin is closed, which also happens if this process is killed.
        let until_closed = format!(r#"printf '%s\t' ready "$HAMRO_STACK_DIR"{values}; echo; exec cat"#);
        command.args(options).args([name, "--", "sh", "-c", &until_closed]);
        let mut stack = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(stack.stdout.take().context("no stdout")?);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            let mut words = line.split('\t').map(str::to_owned);
            if words.next().as_deref() == Some("ready") {
                let directory = words.next().context("no directory")?;
                let values = std::array::from_fn(|_| words.next().unwrap_or_default());
                return Ok(Some((Self { directory, stack, _output: output }, values)));
            }
            line.clear();
        }
        let status = stack.wait()?;
        ensure!(status.code() == Some(NOT_ALLOWED), "{command:?} ended with {status}");
        Ok(None)
    }

    /// The id of a process of the stack: its name in `pids/`.
    pub fn process_id(&self, of: &str) -> Result<u32> {
        let file = fs::read_to_string(format!("{}/pids/{of}", self.directory))?;
        let id = file.split(' ').next().and_then(|id| id.parse().ok());
        id.with_context(|| format!("no process id in {file:?}"))
    }
}

impl Drop for PrivateStack {
    fn drop(&mut self) {
        drop(self.stack.stdin.take());
        if let Err(error) = self.stack.wait() {
            eprintln!("{error}");
        }
    }
}
