//! The SQL of the catalogue, one module per table. Each column list is written once, in a macro, because sqlx checks
//! queries at compile time and needs their full text.

pub mod concerts;
pub mod creation_keys;
pub mod sales;
pub mod seats;
pub mod ticket_tiers;
pub mod ticket_types;
