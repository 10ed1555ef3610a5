//! Tests of the program against the real system and against a faulty server.

mod liar;
mod lies;
mod loader;
mod system;
