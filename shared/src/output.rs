//! Output of commands on stdout.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Context;

/// Prints the output of a command. A reader that closes the pipe early, such as `head`, is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut output = stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to stdout"),
    }
}
