//! The api's use of RabbitMQ: [`publisher`] publishes bookings to the intake queue, [`outcome_subscriber`] receives the
//! workers' announcements.

pub mod outcome_subscriber;
pub mod publisher;
mod without_broker;
