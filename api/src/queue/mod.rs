//! The endpoint that reports the state of the queue.

pub mod get_queue;
