//! TLS connections to RabbitMQ and Postgres with certificates of a private authority.

mod amqp;
mod postgres;
