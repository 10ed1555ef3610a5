//! HTTP behaviour that is common to all endpoints, and the contract.

mod accepted_forms;
mod administrators;
mod bounds;
mod connections;
mod contract;
mod docs;
mod generated_clients;
mod half_closed;
mod heads;
mod log_floods;
mod proxies;
mod proxy_configurations;
mod slow_bodies;
mod wrong_types;
