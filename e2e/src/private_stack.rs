//! Servers of one test, in a stack of their own. Other tests do not use them.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The exit status of the scripts if this machine does not allow what they need: see `deploy/dev/small-disk.sh`.
const NOT_ALLOWED: i32 = 77;

/// Running servers. Dropping it stops them.
pub(crate) struct PrivateStack {
    /// Of `.dev/NAME`.
    pub directory: String,
    /// The value of the variable that was asked for.
    pub url: String,
    /// Only of Postgres.
    pub superuser_url: String,
    stack: Child,
    /// Kept open, because the script still prints messages.
    _output: BufReader<ChildStdout>,
}

impl PrivateStack {
    /// Starts a stack with these options of `deploy/dev/with-stack.sh`, whose address is in `variable`. Returns `None` if
    /// this machine does not allow it.
    pub fn start(name: &str, options: &[&str], variable: &str) -> Result<Option<Self>> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/with-stack.sh"));
        // The stack runs until stdin is closed, which also happens if this process is killed.
        let until_closed =
            format!("echo \"ready $HAMRO_STACK_DIR ${variable} $HAMRO_SUPERUSER_URL\"; exec cat");
        command.args(options).args([name, "--", "sh", "-c", &until_closed]);
        let mut stack = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(stack.stdout.take().context("no stdout")?);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            let mut words = line.split_whitespace();
            if words.next() == Some("ready") {
                let mut next = || words.next().unwrap_or_default().to_owned();
                let (directory, url, superuser_url) = (next(), next(), next());
                return Ok(Some(Self { directory, url, superuser_url, stack, _output: output }));
            }
            line.clear();
        }
        let status = stack.wait()?;
        ensure!(status.code() == Some(NOT_ALLOWED), "{command:?} ended with {status}");
        Ok(None)
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
