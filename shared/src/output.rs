//! What a command prints, on stdout.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Context;

/// Prints the answer of a command. Whoever reads it may have seen enough: `… | head` is no failure.
pub fn print(answer: &str) -> anyhow::Result<()> {
    let mut output = stdout().lock();
    match writeln!(output, "{answer}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing the answer"),
    }
}
