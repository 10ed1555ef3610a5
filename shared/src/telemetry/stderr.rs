//! Lines for whoever started the process, on stderr: what is wrong with a setting is said before there is a log.

use std::fs::File;
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A reader that has stalled holds the process up for no longer than this.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Says that the program has failed, and why.
pub fn report_failure(program: &str, error: &anyhow::Error) {
    write_to_stderr(format!("{program}: {error:#}\n"));
}

/// Writes the text to stderr, if that can be done. `eprintln!` panics where stderr is closed, and waits for as long as
/// its reader stalls.
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
