//! Probes for orchestrators: whether to restart this instance, and whether to send it requests.

pub mod live;
pub mod ready;
