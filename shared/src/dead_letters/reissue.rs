//! Puts a booking back into the queue under a new ticket, because a final status never changes.
//!
//! A letter has at most one ticket that can still be sold. The new ticket is stored before it is published. An
//! interrupted reissue continues with the stored ticket, and a message that is published twice is settled once. Another
//! ticket is issued only after the last one has expired, which is final.
//!
//! The booking keeps its idempotency key. Only a confirmed or rejected ticket holds a key, so the key of a failed one
//! is free. If the customer has retried under the same key in the meantime, the reissued booking shares that outcome,
//! and the seats are not sold twice.

use std::time::Duration;

use anyhow::{Context, bail};
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::{DeadLetterError, Decision};
use crate::database::{Database, tickets};
use crate::domain::{Clock, RequestHash, Ticket, TicketId, TicketKeys, Timestamp};
use crate::queue::{
    BOOKINGS_HEADER, Broker, Envelope, Parcel, Undecodable, open_confirming_channel, publish_confirmed,
};

/// How long to wait for the broker's confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Reissues bookings; issues tickets as the api does.
#[derive(Clone)]
pub struct Reissuer {
    pub database: Database,
    pub ticket_keys: TicketKeys,
    /// How long after its issue a ticket may be sold.
    pub booking_deadline: Duration,
    pub clock: Clock,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reissued {
    pub id: i64,
    pub resolution: &'static str,
    pub ticket_id: TicketId,
    /// The path of the ticket's status at the api.
    pub location: String,
}

/// What to do with the stored ticket.
enum ReissueStep {
    Publish(Box<Envelope>),
    /// An interrupted reissue has published it, and it is settled.
    Resolve(TicketId),
    /// Its deadline has passed. It may have been published.
    Overdue(TicketId),
}

struct StoredLetter {
    ticket_id: Option<TicketId>,
    payload: Vec<u8>,
    resolution: Option<String>,
    reissued_as: Option<TicketId>,
}

impl Reissuer {
    /// Reissues the letter's booking. `publish` puts it into the queue, and fails unless the broker has confirmed it.
    pub async fn reissue<F>(
        &self,
        id: i64,
        decision: Decision,
        publish: impl Fn(Envelope) -> F + Send,
    ) -> Result<Reissued, DeadLetterError>
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let ticket = loop {
            match self.next_step(id).await? {
                ReissueStep::Publish(envelope) => {
                    let ticket = envelope.ticket.id;
                    let published = publish(*envelope).await;
                    published.map_err(|cause| DeadLetterError::NotPublished { ticket, cause })?;
                    break ticket;
                }
                ReissueStep::Resolve(ticket) => break ticket,
                // Either it can no longer be sold, or it has been, and that stands.
                ReissueStep::Overdue(ticket) => {
                    let Ticket { id, deadline } = self.ticket(ticket);
                    let expiring = self
                        .database
                        .query(move |connection| Box::pin(tickets::expire(connection, id, deadline)));
                    drop(expiring.await?);
                }
            }
        };
        let now = self.clock.now();
        self.database
            .query(move |connection| Box::pin(resolve(connection, id, ticket, decision.clone(), now)))
            .await?;
        let location = format!("/ticket-bookings/{ticket}");
        Ok(Reissued { id, resolution: "reissued", ticket_id: ticket, location })
    }

    /// Finds the letter's stored ticket, or issues and stores one.
    async fn next_step(&self, id: i64) -> Result<ReissueStep, DeadLetterError> {
        let reissuer = self.clone();
        self.database
            .transaction(move |connection| {
                Box::pin(async move {
                    match reissuer.decide(connection, id).await {
                        Err(DeadLetterError::Database(error)) => Err(error),
                        decided => Ok(decided),
                    }
                })
            })
            .await?
    }

    /// What to do next. Locks the letter until the transaction ends.
    async fn decide(&self, connection: &mut PgConnection, id: i64) -> Result<ReissueStep, DeadLetterError> {
        let letter = lock(connection, id).await?.ok_or(DeadLetterError::Unknown(id))?;
        if let Some(resolution) = letter.resolution.as_deref().filter(|it| *it == "discarded") {
            return Err(DeadLetterError::AlreadyResolved { id, resolution: resolution.to_owned() });
        }
        let mut envelope = read(&letter).map_err(|cause| DeadLetterError::Unreadable { id, cause })?;
        if let Some(earlier) = letter.reissued_as {
            let status = status(connection, earlier).await?;
            envelope.ticket = self.ticket(earlier);
            match status.as_deref() {
                // Final, and nothing was sold: issue another ticket.
                Some("expired") => {}
                None if self.clock.now() > envelope.ticket.deadline => {
                    return Ok(ReissueStep::Overdue(earlier));
                }
                status if letter.resolution.is_some() => {
                    let status = status.unwrap_or("queued").to_owned();
                    return Err(DeadLetterError::AlreadyReissued { id, ticket: earlier, status });
                }
                Some(_) => return Ok(ReissueStep::Resolve(earlier)),
                None => return Ok(ReissueStep::Publish(Box::new(envelope))),
            }
        }
        refuse_decided(connection, &letter, envelope.request.hash()).await?;
        envelope.ticket = self.ticket(self.ticket_keys.issue(self.clock.now()));
        sqlx::query!(
            "UPDATE dead_letters SET reissued_as = $2, resolution = NULL, resolved_at = NULL WHERE id = $1",
            id,
            envelope.ticket.id as TicketId
        )
        .execute(connection)
        .await?;
        Ok(ReissueStep::Publish(Box::new(envelope)))
    }

    fn ticket(&self, id: TicketId) -> Ticket {
        Ticket { id, deadline: id.issued_at() + self.booking_deadline }
    }
}

/// Marks the letter as reissued. Done twice, it changes nothing the second time.
async fn resolve(
    connection: &mut PgConnection,
    id: i64,
    ticket: TicketId,
    decision: Decision,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE dead_letters SET resolution = 'reissued', resolved_at = $3, resolved_by = $4, reissue_reason = $5
        WHERE id = $1 AND reissued_as = $2 AND resolution IS NULL
        "#,
        id,
        ticket as TicketId,
        now as Timestamp,
        decision.by,
        decision.reason
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn lock(connection: &mut PgConnection, id: i64) -> Result<Option<StoredLetter>, sqlx::Error> {
    sqlx::query_as!(
        StoredLetter,
        r#"
        SELECT ticket_id AS "ticket_id: TicketId", payload, resolution, reissued_as AS "reissued_as: TicketId"
        FROM dead_letters
        WHERE id = $1
        FOR UPDATE
        "#,
        id
    )
    .fetch_optional(connection)
    .await
}

fn read(letter: &StoredLetter) -> anyhow::Result<Envelope> {
    let raw: &RawValue = serde_json::from_slice(&letter.payload).context("its payload is not JSON")?;
    match Envelope::decode(raw) {
        // The trace of the first attempt has ended.
        Ok(envelope) => Ok(Envelope { trace: None, ..envelope }),
        Err(Undecodable::Unreadable { reason, .. }) => bail!("its payload is not a booking: {reason}"),
        Err(newer @ Undecodable::Newer(_)) => Err(newer.into()),
    }
}

/// The final status of the ticket, if it has one.
async fn status(connection: &mut PgConnection, ticket: TicketId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT status FROM bookings WHERE ticket_id = $1", ticket as TicketId)
        .fetch_optional(connection)
        .await
}

/// Fails if the booking is already confirmed or rejected.
async fn refuse_decided(
    connection: &mut PgConnection,
    letter: &StoredLetter,
    request: RequestHash,
) -> Result<(), DeadLetterError> {
    let decided = sqlx::query!(
        r#"
        SELECT ticket_id AS "ticket_id: TicketId", status FROM bookings
        WHERE ticket_id = $1 AND request_hash = $2 AND status IN ('confirmed', 'rejected')
        "#,
        letter.ticket_id as Option<TicketId>,
        request as RequestHash
    )
    .fetch_optional(connection)
    .await?;
    match decided {
        Some(booking) => Err(DeadLetterError::Decided { status: booking.status, ticket: booking.ticket_id }),
        None => Ok(()),
    }
}

/// Publishes the booking to the intake queue on a connection of its own. `Ok` means that the broker has confirmed it.
pub async fn publish_through_broker(broker: &Broker, envelope: Envelope) -> anyhow::Result<()> {
    let mut parcel = Parcel::default();
    parcel.push(&envelope.encode());
    let body = parcel.encode();
    let mut headers = FieldTable::default();
    headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(1));
    let connection = broker.connect("reissuing").await?;
    let channel = open_confirming_channel(&connection).await?;
    let queue = broker.topology().intake_queue();
    let publishing = publish_confirmed(&channel, &queue, &body, headers);
    timeout(CONFIRM_TIMEOUT, publishing).await.context("the broker did not confirm in time")??;
    // Best effort: the booking is already in the queue.
    let _ = timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
    Ok(())
}
