//! Probes for orchestrators: whether to restart this instance, and whether to send it requests. And its metrics.

pub mod live;
pub mod metrics;
pub mod ready;
