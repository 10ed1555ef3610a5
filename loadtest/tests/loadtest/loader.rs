//! Runs the program and reads its output.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

pub const ADMIN_TOKEN: &str = "a-token-for-tests-only";

/// The result of a run.
pub struct Outcome {
    pub code: i32,
    pub printed: String,
    /// `Null` if there is no report.
    pub report: Value,
    pub files: Files,
}

/// A temporary directory for the files of a run.
pub struct Files(PathBuf);

impl Files {
    pub fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("hamro-loadtest-{}", Uuid::from_u128(rand())));
        std::fs::create_dir(&directory)?;
        Ok(Self(directory))
    }

    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    pub fn json(&self) -> PathBuf {
        self.0.join("report.json")
    }

    pub fn html(&self) -> PathBuf {
        self.0.join("report.html")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Different for every test and every process.
fn rand() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(std::process::id())) << 64
        | u128::from(RandomState::new().hash_one(std::thread::current().id()))
}

/// The program with these arguments. Its environment has only the token and these variables.
pub fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hamro-loadtest"));
    command
        .args(arguments)
        .env_clear()
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The command `run` with these arguments, separated by spaces, against the system at `url`.
pub fn run_command(url: &str, arguments: &str, variables: &[(&str, &str)], files: &Files) -> Command {
    let mut command = command(&["run"], variables);
    command.args(arguments.split_whitespace()).args(["--url", url]);
    command
        .arg("--journal")
        .arg(files.journal())
        .arg("--json")
        .arg(files.json())
        .arg("--html")
        .arg(files.html());
    command
}

/// Runs the command to its end.
pub async fn run(url: &str, arguments: &str, variables: &[(&str, &str)]) -> Result<Outcome> {
    let files = Files::new()?;
    // Other tests keep the machine busy, so the start lag is not limited.
    let lag = if arguments.contains("--lag-max") { "" } else { " --lag-max 1m" };
    let output = run_command(url, &format!("{arguments}{lag}"), variables, &files).output().await?;
    Outcome::of(output, files)
}

/// Verifies a journal.
pub async fn verify(journal: &Path, variables: &[(&str, &str)]) -> Result<(i32, String)> {
    let journal = journal.to_str().context("the path is not UTF-8")?;
    let output = command(&["verify", journal], variables).output().await?;
    Ok((output.status.code().unwrap_or(-1), printed(&output)))
}

impl Outcome {
    pub fn of(output: std::process::Output, files: Files) -> Result<Self> {
        let report = match std::fs::read(files.json()) {
            Ok(json) => serde_json::from_slice(&json)?,
            Err(_) => Value::Null,
        };
        Ok(Self { code: output.status.code().unwrap_or(-1), printed: printed(&output), report, files })
    }

    /// The names of the rules that were broken.
    pub fn broken(&self) -> Vec<&str> {
        let violations = self.report["proof"]["violations"].as_object();
        violations.map(|rules| rules.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

fn printed(output: &std::process::Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// Waits until the process prints a line that contains `word` on stderr.
pub async fn wait_for_word(child: &mut Child, word: &str) -> Result<()> {
    let mut lines = BufReader::new(child.stderr.as_mut().context("stderr is not piped")?).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains(word) {
            return Ok(());
        }
    }
    anyhow::bail!("the process never printed {word:?}")
}
