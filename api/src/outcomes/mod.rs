//! What this instance knows of the outcomes of tickets, and how long a ticket will have to wait for one.

pub mod cache;
pub mod queue_estimate;
pub mod watermark;
