//! The SQL of the catalogue, one module per table. Column lists stand once, in a macro, because sqlx checks a query at
//! compile time and so needs its whole text.

pub mod concerts;
pub mod seats;
pub mod ticket_tiers;
pub mod ticket_types;
