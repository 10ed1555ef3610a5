//! The api's use of RabbitMQ: [`publisher`] publishes bookings to the intake queue, [`outcome_subscriber`] receives the
//! workers' announcements.

#[cfg(feature = "faults")]
mod fault_injection;
pub mod outcome_subscriber;
pub mod publisher;
