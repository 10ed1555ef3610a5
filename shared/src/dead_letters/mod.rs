//! Bookings and messages that could not be processed, and the decisions of operators about them.
//!
//! A failed ticket stays failed. An operator *reissues* its booking under a new ticket, or *discards* it: with the command
//! `hamro-worker dead-letters`, or in the live view of the api. Both do the same. One file per action.

mod discard;
mod error;
mod list;
mod reissue;
mod show;

pub use self::discard::{Discarded, discard};
pub use self::error::DeadLetterError;
pub use self::list::{List, ListEntry, Selection, list};
pub use self::reissue::{Reissued, Reissuer, publish_through_broker};
pub use self::show::{Letter, Payload, TicketState, show};

/// A decision about a letter.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The name of the administrator. `None` for the command of the worker, which does not know it.
    pub by: Option<String>,
    pub reason: Option<String>,
}
