//! Starts the runtime that lapin's threads fall back to.
//!
//! lapin (4.12.3) uses its sockets on threads of its own, through the crate `async-compat`. Outside of a tokio runtime,
//! that crate starts one, once per process. If no file can be opened at that moment, lapin's thread panics, and so does
//! each later one, because the failed start is remembered.

use std::thread;

use async_compat::Compat;
use futures_util::FutureExt;
use tracing::warn;

/// Starts the runtime now, while files can be opened.
pub fn start() {
    // On a thread without a runtime, as lapin's are.
    let started = thread::spawn(|| Compat::new(async {}).now_or_never()).join();
    if started.is_err() {
        warn!("cannot start the runtime for connections to the broker");
    }
}
