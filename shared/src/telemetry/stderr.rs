//! Messages on stderr, for errors that occur before logging starts, such as an invalid setting.

use std::fs::File;
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The longest that a stalled reader of stderr may block the process.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Prints the error that ended the program.
pub fn report_failure(program: &str, error: &anyhow::Error) {
    write_to_stderr(format!("{program}: {error:#}\n"));
}

/// Writes the text to stderr, best effort. `eprintln!` panics if stderr is closed, and blocks while its reader stalls.
pub fn write_to_stderr(text: String) {
    let (is_done, done) = mpsc::channel();
    let write = move || {
        if let Ok(output) = stderr().as_fd().try_clone_to_owned() {
            let _ = File::from(output).write_all(text.as_bytes());
        }
        let _ = is_done.send(());
    };
    if thread::Builder::new().name("stderr".to_owned()).spawn(write).is_ok() {
        let _ = done.recv_timeout(TIMEOUT);
    }
}
