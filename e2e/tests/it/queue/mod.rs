//! The queue as clients see it: `/queue`, and refusals while it is full.

mod full_queue;
