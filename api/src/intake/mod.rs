//! From a handler to the queue, and back from the workers to whoever waits.

mod gauge;
mod listener;
mod outcomes;
mod publisher;
mod watermark;

pub use gauge::Gauge;
pub use listener::Listener;
pub use outcomes::{Outcomes, Waiter, look_up_waited_for};
pub use publisher::{PublishError, Publisher, PublisherConfig, PublishingTask, publisher};
pub use watermark::Watermark;
