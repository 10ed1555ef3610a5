//! Load as a real on-sale makes it, and the proof that the system under it lost nothing and sold no seat twice.
//!
//! A run prepares a concert ([`concert`]), lets [`buyers`] arrive when they are due ([`schedule`], [`pacer`]), each doing
//! what the [`scenario`] says on the shared [`stage`], measures from the due time ([`meter`]), keeps what every client was
//! told ([`journal`], [`ledger`]), follows all tickets to their end and checks what must hold ([`proof`]), and reports.

pub mod arguments;
mod books;
mod buyers;
pub mod ceiling;
pub mod compare;
mod concert;
mod flood;
mod follow;
mod http;
mod instance;
mod interrupt;
mod journal;
mod ledger;
mod machine;
mod meter;
mod pacer;
mod processes;
mod proof;
pub mod report;
pub mod run;
mod sampler;
mod scenario;
mod schedule;
mod stage;
mod status_read;
pub mod verify;
mod violation;
mod wire;
