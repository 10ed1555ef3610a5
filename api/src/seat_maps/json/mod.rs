//! The JSON of the documents about seats.

pub mod layout;
pub mod seats;
pub mod status;
