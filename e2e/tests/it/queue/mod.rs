//! The queue as clients see it: `/queue`, positions, and refusals while it is full.

mod full_queue;
mod positions;
