//! `dead-letters reissue`: puts a booking back into the queue under a new ticket, because a final status never changes.
//!
//! A letter has at most one ticket that can still be sold. The new ticket is stored before it is published. An
//! interrupted reissue continues with the stored ticket, and a message that is published twice is settled once. Another
//! ticket is issued only after the last one has expired, which is final.
//!
//! The booking keeps its idempotency key. Only a confirmed or rejected ticket holds a key, so the key of a failed one
//! is free. If the customer has retried under the same key in the meantime, the reissued booking shares that outcome,
//! and the seats are not sold twice.

use std::fmt::{self, Display};
use std::time::Duration;

use anyhow::{Context, bail};
use hamro_shared::database::tickets;
use hamro_shared::domain::{Clock, RequestHash, Ticket, TicketId, TicketKeys, Timestamp};
use hamro_shared::queue::{BOOKINGS_HEADER, Broker, Envelope, Parcel, Undecodable, publish_confirmed};
use lapin::options::ConfirmSelectOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::{PgConnection, PgPool};
use tokio::time::timeout;

use super::unknown;

/// How long to wait for the broker's confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Reissues bookings; issues tickets as the api does.
pub struct Reissuer {
    pub pool: PgPool,
    pub broker: Broker,
    pub ticket_keys: TicketKeys,
    /// How long after its issue a ticket may be sold.
    pub booking_deadline: Duration,
    pub clock: Clock,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reissued {
    id: i64,
    resolution: &'static str,
    ticket_id: TicketId,
    /// The path of the ticket's status at the api.
    location: String,
}

/// What to do with the stored ticket.
enum ReissueStep {
    Publish(Envelope),
    /// An interrupted reissue has published it, and it is settled.
    Resolve(TicketId),
    /// Its deadline has passed. It may have been published.
    Overdue(TicketId),
}

struct Letter {
    ticket_id: Option<TicketId>,
    payload: Vec<u8>,
    resolution: Option<String>,
    reissued_as: Option<TicketId>,
}

pub async fn reissue(reissuer: &Reissuer, id: i64) -> anyhow::Result<Reissued> {
    let ticket_id = loop {
        match next_step(reissuer, id).await? {
            ReissueStep::Publish(envelope) => {
                let ticket = envelope.ticket.id;
                publish(&reissuer.broker, envelope).await.with_context(|| {
                    format!(
                        "the booking may not be in the queue: run the command again, it continues with the same ticket {ticket}"
                    )
                })?;
                break ticket;
            }
            ReissueStep::Resolve(ticket) => break ticket,
            // Either it can no longer be sold, or it has been, and that stands.
            ReissueStep::Overdue(ticket) => {
                let Ticket { id: ticket_id, deadline } = reissuer.ticket(ticket);
                drop(tickets::expire(&mut *reissuer.pool.acquire().await?, ticket_id, deadline).await?);
            }
        }
    };
    sqlx::query!(
        r#"
        UPDATE dead_letters SET resolution = 'reissued', resolved_at = $3
        WHERE id = $1 AND reissued_as = $2 AND resolution IS NULL
        "#,
        id,
        ticket_id as TicketId,
        reissuer.clock.now() as Timestamp
    )
    .execute(&reissuer.pool)
    .await?;
    let location = format!("/ticket-bookings/{ticket_id}");
    Ok(Reissued { id, resolution: "reissued", ticket_id, location })
}

/// Finds the letter's stored ticket, or issues and stores one.
async fn next_step(reissuer: &Reissuer, id: i64) -> anyhow::Result<ReissueStep> {
    let mut transaction = reissuer.pool.begin().await?;
    let letter = lock(&mut transaction, id).await?;
    if letter.resolution.as_deref() == Some("discarded") {
        bail!("dead letter {id} was already discarded");
    }
    let mut envelope = read(&letter).with_context(|| format!("dead letter {id} cannot be reissued"))?;
    if let Some(earlier) = letter.reissued_as {
        let status = status(&mut transaction, earlier).await?;
        envelope.ticket = reissuer.ticket(earlier);
        match status.as_deref() {
            // Final, and nothing was sold: issue another ticket.
            Some("expired") => {}
            None if reissuer.clock.now() > envelope.ticket.deadline => {
                return Ok(ReissueStep::Overdue(earlier));
            }
            status if letter.resolution.is_some() => {
                let status = status.unwrap_or("queued");
                bail!("dead letter {id} was already reissued: ticket {earlier} is {status}")
            }
            Some(_) => return Ok(ReissueStep::Resolve(earlier)),
            None => return Ok(ReissueStep::Publish(envelope)),
        }
    }
    refuse_decided(&mut transaction, &letter, envelope.request.hash()).await?;
    envelope.ticket = reissuer.ticket(reissuer.ticket_keys.issue(reissuer.clock.now()));
    sqlx::query!(
        "UPDATE dead_letters SET reissued_as = $2, resolution = NULL, resolved_at = NULL WHERE id = $1",
        id,
        envelope.ticket.id as TicketId
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(ReissueStep::Publish(envelope))
}

/// Reads the letter and locks it until the transaction ends.
async fn lock(connection: &mut PgConnection, id: i64) -> anyhow::Result<Letter> {
    sqlx::query_as!(
        Letter,
        r#"
        SELECT ticket_id AS "ticket_id: TicketId", payload, resolution, reissued_as AS "reissued_as: TicketId"
        FROM dead_letters
        WHERE id = $1
        FOR UPDATE
        "#,
        id
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| unknown(id))
}

impl Reissuer {
    fn ticket(&self, id: TicketId) -> Ticket {
        Ticket { id, deadline: id.issued_at() + self.booking_deadline }
    }
}

fn read(letter: &Letter) -> anyhow::Result<Envelope> {
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

/// Fails if the booking is already confirmed or rejected: a worker may have died after its commit, and the reissued
/// booking would be sold a second time.
async fn refuse_decided(
    connection: &mut PgConnection,
    letter: &Letter,
    request: RequestHash,
) -> anyhow::Result<()> {
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
    if let Some(booking) = decided {
        bail!(
            "there is nothing to reissue: this booking is {} as ticket {}",
            booking.status,
            booking.ticket_id
        );
    }
    Ok(())
}

/// Publishes the booking to the intake queue. `Ok` means that the broker has confirmed it.
async fn publish(broker: &Broker, envelope: Envelope) -> anyhow::Result<()> {
    let mut parcel = Parcel::default();
    parcel.push(&envelope.encode());
    let body = parcel.encode();
    let mut headers = FieldTable::default();
    headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(1));
    let connection = broker.connect("reissuing").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let queue = broker.topology().intake_queue();
    let publishing = publish_confirmed(&channel, &queue, &body, headers);
    timeout(CONFIRM_TIMEOUT, publishing).await.context("the broker did not confirm in time")??;
    // Best effort: the booking is already in the queue.
    let _ = timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
    Ok(())
}

impl Display for Reissued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, ticket_id, location, .. } = self;
        write!(f, "Dead letter {id} was reissued as ticket {ticket_id}.\nIts status: {location}")
    }
}
