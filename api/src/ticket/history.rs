//! What is known about a ticket, and how its state follows from what is stored.

use hamro_shared::database::tickets;
use hamro_shared::domain::{Outcome, Rejection, Ticket, TicketId, Timestamp};
use serde::Serialize;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::TicketConfig;
use super::stored::{self, DeadLetter, Reissue, Release, Seat};

/// The printed document. docs/RUNBOOK.md describes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketHistory {
    pub ticket_id: TicketId,
    /// By which the lines of the ticket are found in logs, and its spans in traces. `None` without a key.
    pub log_id: Option<String>,
    /// Whether one of `TICKET_KEYS` has signed it. `None` without keys.
    pub is_genuine: Option<bool>,
    pub issued_at: Timestamp,
    /// The latest time at which it could be sold. A ticket of the earlier endpoint has an earlier one.
    pub deadline: Timestamp,
    pub state: State,
    pub settled_at: Option<Timestamp>,
    /// The code of the rejection.
    pub code: Option<String>,
    pub rejection: Option<Rejection>,
    /// Why the stored outcome cannot be read.
    pub unreadable: Option<String>,
    pub sale: Option<Sale>,
    /// The ticket of an earlier attempt with the same `Idempotency-Key`, whose outcome this one shares.
    pub shares_outcome_of: Option<TicketId>,
    /// The later attempts that share the outcome of this one.
    pub shared_by: Vec<TicketId>,
    pub customer: Option<Customer>,
    /// The dead letters of the ticket, and of those under which its booking was reissued.
    pub dead_letters: Vec<DeadLetter>,
    /// The dead letter whose booking has this ticket now.
    pub reissue_of: Option<Reissue>,
}

/// What became of the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Confirmed,
    Rejected,
    Expired,
    Failed,
    /// It has an outcome that this version cannot read.
    Unreadable,
    /// Nothing is stored, and its deadline has not passed.
    Queued,
    /// Nothing is stored, and its deadline has passed.
    Overdue,
    /// Nothing is stored any more.
    Deleted,
    /// Nothing is stored, and none of the keys has signed it.
    Unknown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sale {
    pub id: i64,
    pub seats: Vec<Seat>,
    pub releases: Vec<Release>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    pub user_name: String,
    pub user_email: String,
}

impl TicketHistory {
    pub(super) async fn find(
        connection: &mut PgConnection,
        ticket_id: TicketId,
        config: &TicketConfig,
        with_person: bool,
    ) -> Result<Self, sqlx::Error> {
        // One snapshot, and nothing is changed: the ticket does not expire because somebody looks at it.
        let mut transaction =
            connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let now = stored::now(&mut transaction).await?;
        let is_genuine =
            config.ticket_keys.as_ref().map(|keys| keys.verify(&ticket_id.to_string()).is_some());
        let deadline = ticket_id.issued_at() + config.booking_deadline;
        let booking = stored::booking(&mut transaction, ticket_id).await?;
        let mut history = Self {
            ticket_id,
            log_id: config.log_ids.as_ref().map(|log_ids| log_ids.of(ticket_id).to_string()),
            is_genuine,
            issued_at: ticket_id.issued_at(),
            deadline,
            state: State::Unknown,
            settled_at: None,
            code: None,
            rejection: None,
            unreadable: None,
            sale: None,
            shares_outcome_of: booking.alias_of,
            shared_by: stored::shared_by(&mut transaction, ticket_id).await?,
            customer: None,
            dead_letters: stored::dead_letters(&mut transaction, ticket_id).await?,
            reissue_of: stored::reissue_of(&mut transaction, ticket_id).await?,
        };
        if with_person {
            let names = booking.user_name.zip(booking.user_email);
            history.customer = names.map(|(user_name, user_email)| Customer { user_name, user_email });
        }
        history.state = match tickets::find_settled(&mut transaction, &[ticket_id]).await?.pop() {
            Some(Ok(settled)) => {
                history.settled_at = Some(settled.settled_at);
                history.record_outcome(settled.outcome)
            }
            Some(Err(unreadable)) => {
                history.unreadable = Some(unreadable.reason);
                State::Unreadable
            }
            None if is_genuine == Some(false) => State::Unknown,
            None if tickets::may_be_deleted(&mut transaction, ticket_id).await? => State::Deleted,
            None if (Ticket { id: ticket_id, deadline }).is_past_deadline(now) => State::Overdue,
            None => State::Queued,
        };
        if let Some(id) = booking.sale_id {
            let seats = stored::seats(&mut transaction, id).await?;
            let releases = stored::releases(&mut transaction, id).await?;
            history.sale = Some(Sale { id, seats, releases });
        }
        Ok(history)
    }

    fn record_outcome(&mut self, outcome: Outcome) -> State {
        match outcome {
            Outcome::Confirmed { .. } => State::Confirmed,
            Outcome::Rejected { rejection } => {
                self.code = match &rejection {
                    Rejection::Other(stored) => stored.code().map(str::to_owned),
                    known => Some(known.code().to_owned()),
                };
                self.rejection = Some(rejection);
                State::Rejected
            }
            Outcome::Expired => State::Expired,
            Outcome::Failed => State::Failed,
        }
    }

    pub fn is_stored(&self) -> bool {
        let is_settled =
            !matches!(self.state, State::Queued | State::Overdue | State::Deleted | State::Unknown);
        is_settled || !self.dead_letters.is_empty() || self.reissue_of.is_some()
    }
}
