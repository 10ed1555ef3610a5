//! The program as a whole, against the real system and against one that lies.

mod liar;
mod lies;
mod loader;
mod system;
