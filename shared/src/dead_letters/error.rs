//! Why a dead letter was not decided.

use crate::domain::TicketId;

#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("there is no dead letter {0}")]
    Unknown(i64),
    #[error("dead letter {id} was already {resolution}")]
    AlreadyResolved { id: i64, resolution: String },
    #[error("dead letter {id} was already reissued: ticket {ticket} is {status}")]
    AlreadyReissued { id: i64, ticket: TicketId, status: String },
    /// Its ticket may be in the queue, so the booking may still be settled.
    #[error("dead letter {id} is being reissued as ticket {ticket}")]
    BeingReissued { id: i64, ticket: TicketId },
    #[error("dead letter {0} was changed by another process: try again")]
    Changed(i64),
    #[error("dead letter {id} cannot be reissued")]
    Unreadable {
        id: i64,
        #[source]
        cause: anyhow::Error,
    },
    /// A worker may have died after its commit, and the booking would be sold a second time.
    #[error("there is nothing to reissue: this booking is {status} as ticket {ticket}")]
    Decided { status: String, ticket: TicketId },
    /// The reissue continues with the same ticket when it is tried again.
    #[error("the booking may not be in the queue")]
    NotPublished {
        ticket: TicketId,
        #[source]
        cause: anyhow::Error,
    },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
