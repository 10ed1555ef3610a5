//! `dead-letters reissue`: puts a booking into the queue again, under a new ticket, since a final status never changes.
//!
//! One letter has at most one ticket that could be sold. The new ticket is written down before it is published; a reissue
//! that was broken off, wherever, goes on with that same ticket, and the same message twice is settled once. Another
//! ticket is issued only when the last one has expired, which is final.
//!
//! The booking keeps its idempotency key. Only what was confirmed or rejected holds a key, so that of a failed ticket is
//! free; and a customer who has tried again in the meantime, under the same key, is not sold the seats twice: the reissue
//! shares what came of that.

use std::fmt::{self, Display};
use std::time::Duration;

use anyhow::{Context, bail};
use hamro_shared::database::tickets;
use hamro_shared::domain::{Clock, RequestHash, Ticket, TicketId, TicketKeys};
use hamro_shared::queue::{BOOKINGS_HEADER, Broker, Envelope, Parcel, Undecodable, publish_confirmed};
use lapin::options::ConfirmSelectOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::types::Uuid;
use tokio::time::timeout;

use super::unknown;

/// How long to wait for the broker's confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// What issues tickets, as an instance of the api does.
pub struct Reissuer {
    pub pool: PgPool,
    pub broker: Broker,
    pub ticket_keys: TicketKeys,
    /// How long after it was issued a ticket may be sold.
    pub booking_deadline: Duration,
    pub clock: Clock,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reissued {
    id: i64,
    resolution: &'static str,
    ticket_id: TicketId,
    /// Where the api tells what becomes of it.
    location: String,
}

/// What is to be done with the ticket that is written down.
enum ReissueStep {
    Publish(Envelope),
    /// It was published, by a try that was broken off behind that, and is settled.
    Resolve(TicketId),
    /// Its deadline has passed. It may have been published, or not.
    Overdue(TicketId),
}

struct Letter {
    ticket_id: Option<Uuid>,
    payload: Vec<u8>,
    resolution: Option<String>,
    reissued_as: Option<Uuid>,
}

pub async fn reissue(reissuer: &Reissuer, id: i64) -> anyhow::Result<Reissued> {
    let ticket_id = loop {
        match next_step(reissuer, id).await? {
            ReissueStep::Publish(envelope) => {
                let ticket = envelope.ticket.id;
                publish(&reissuer.broker, envelope).await.with_context(|| {
                    format!(
                        "it is not known to be in the queue: try again, it will be the same ticket {ticket}"
                    )
                })?;
                break ticket;
            }
            ReissueStep::Resolve(ticket) => break ticket,
            // From here on it cannot be sold; or it has been, and that stands.
            ReissueStep::Overdue(ticket) => {
                let Ticket { id, deadline } = reissuer.ticket(ticket);
                drop(tickets::expire(&mut *reissuer.pool.acquire().await?, id, deadline).await?);
            }
        }
    };
    sqlx::query!(
        r#"
        UPDATE dead_letters SET resolution = 'reissued', resolved_at = $3
        WHERE id = $1 AND reissued_as = $2 AND resolution IS NULL
        "#,
        id,
        ticket_id.0,
        reissuer.clock.now().datetime()
    )
    .execute(&reissuer.pool)
    .await?;
    let location = format!("/ticket-bookings/{ticket_id}");
    Ok(Reissued { id, resolution: "reissued", ticket_id, location })
}

/// Writes down a ticket for the letter, or finds the one that is written down.
async fn next_step(reissuer: &Reissuer, id: i64) -> anyhow::Result<ReissueStep> {
    let mut transaction = reissuer.pool.begin().await?;
    let letter = lock(&mut transaction, id).await?;
    if letter.resolution.as_deref() == Some("discarded") {
        bail!("dead letter {id} has been discarded already");
    }
    let mut envelope = read(&letter).with_context(|| format!("dead letter {id} cannot be reissued"))?;
    if let Some(earlier) = letter.reissued_as.map(TicketId) {
        let status = status(&mut transaction, earlier).await?;
        envelope.ticket = reissuer.ticket(earlier);
        match status.as_deref() {
            // Final, and nothing was sold: the next ticket.
            Some("expired") => {}
            None if reissuer.clock.now() > envelope.ticket.deadline => {
                return Ok(ReissueStep::Overdue(earlier));
            }
            status if letter.resolution.is_some() => {
                let status = status.unwrap_or("queued");
                bail!("dead letter {id} has been reissued already: ticket {earlier} is {status}")
            }
            Some(_) => return Ok(ReissueStep::Resolve(earlier)),
            None => return Ok(ReissueStep::Publish(envelope)),
        }
    }
    refuse_what_was_decided(&mut transaction, &letter, envelope.request.hash()).await?;
    envelope.ticket = reissuer.ticket(reissuer.ticket_keys.issue(reissuer.clock.now()));
    sqlx::query!(
        "UPDATE dead_letters SET reissued_as = $2, resolution = NULL, resolved_at = NULL WHERE id = $1",
        id,
        envelope.ticket.id.0
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(ReissueStep::Publish(envelope))
}

/// The letter, which nobody else can decide on until the transaction ends.
async fn lock(connection: &mut PgConnection, id: i64) -> anyhow::Result<Letter> {
    sqlx::query_as!(
        Letter,
        "SELECT ticket_id, payload, resolution, reissued_as FROM dead_letters WHERE id = $1 FOR UPDATE",
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
    let raw: &RawValue = serde_json::from_slice(&letter.payload).context("its payload is no JSON")?;
    match Envelope::decode(raw) {
        Ok(envelope) => Ok(envelope),
        Err(Undecodable::Unreadable { reason, .. }) => bail!("its payload is no booking: {reason}"),
        Err(newer @ Undecodable::Newer(_)) => Err(newer.into()),
    }
}

/// How the ticket has ended, if it has.
async fn status(connection: &mut PgConnection, ticket: TicketId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT status FROM bookings WHERE ticket_id = $1", ticket.0)
        .fetch_optional(connection)
        .await
}

/// A booking may have been settled, and the worker have died of it afterwards. To reissue that would sell it twice.
async fn refuse_what_was_decided(
    connection: &mut PgConnection,
    letter: &Letter,
    request: RequestHash,
) -> anyhow::Result<()> {
    let decided = sqlx::query!(
        r#"
        SELECT ticket_id, status FROM bookings
        WHERE ticket_id = $1 AND request_hash = $2 AND status IN ('confirmed', 'rejected')
        "#,
        letter.ticket_id,
        &request.0
    )
    .fetch_optional(connection)
    .await?;
    if let Some(booking) = decided {
        bail!(
            "there is nothing to reissue: this booking is {}, as ticket {}",
            booking.status,
            booking.ticket_id
        );
    }
    Ok(())
}

/// Puts the booking into the intake queue. `Ok` is the broker's own word that it is there.
async fn publish(broker: &Broker, envelope: Envelope) -> anyhow::Result<()> {
    let mut parcel = Parcel::default();
    parcel.push(&envelope.encode());
    let body = parcel.encode();
    let mut headers = FieldTable::default();
    headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(1));
    let connection = broker.connect("reissuing").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let queue = broker.topology().intake();
    let publishing = publish_confirmed(&channel, &queue, &body, headers);
    timeout(CONFIRM_TIMEOUT, publishing).await.context("the broker does not confirm")??;
    // Best effort: the booking is where it should be.
    let _ = timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
    Ok(())
}

impl Display for Reissued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, ticket_id, location, .. } = self;
        write!(
            f,
            "Dead letter {id} is reissued as ticket {ticket_id}.\nThe api tells what becomes of it: {location}"
        )
    }
}
