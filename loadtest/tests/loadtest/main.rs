//! Tests of the program against the real system and against a faulty server.

mod clean;
mod faulty_server;
mod loader;
mod opening;
mod proof_detects_defects;
mod several_loaders;
mod system;
mod thresholds;
