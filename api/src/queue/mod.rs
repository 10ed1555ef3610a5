//! The queue, as everybody may see it.

pub mod get_queue;
