//! The api's use of RabbitMQ: handlers pass bookings to the [`publisher`], and the [`publishing_task`] publishes them to the
//! intake queue. [`outcome_subscriber`] receives the announcements and everybody's heartbeats, [`heartbeats`] sends those of
//! this instance, and [`release_announcer`] announces the seats that it has released. [`fallback_runtime`] prepares the threads
//! of the connections.

pub mod fallback_runtime;
mod heartbeats;
pub mod outcome_subscriber;
pub mod publisher;
mod publisher_config;
mod publisher_metrics;
pub mod publishing_task;
mod release_announcer;
mod side_channel;
mod without_broker;
