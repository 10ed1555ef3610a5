//! RabbitMQ as the api uses it: [`publisher`] puts bookings into the intake queue, [`outcome_subscriber`] receives the workers'
//! announcements.

pub mod outcome_subscriber;
pub mod publisher;
