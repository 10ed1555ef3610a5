//! HTTP behaviour that is common to all endpoints, and the contract.

mod connections;
mod contract;
mod half_closed;
mod proxies;
