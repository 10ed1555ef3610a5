//! The api's use of RabbitMQ: [`publisher`] publishes bookings to the intake queue, [`outcome_subscriber`] receives the
//! workers' announcements and everybody's heartbeats, and [`heartbeats`] sends those of this instance.

mod heartbeats;
pub mod outcome_subscriber;
pub mod publisher;
mod publisher_config;
mod without_broker;
