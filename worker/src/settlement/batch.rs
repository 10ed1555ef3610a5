//! What a worker has in hand: the bookings of some whole parcels, in the order they came.

use hamro_shared::domain::{
    BookingRequest, IdempotencyDigest, Outcome, RequestHash, Ticket, TicketId, Timestamp,
};
use hamro_shared::queue::{Envelope, Parcel, Undecodable};

/// A booking to decide on.
#[derive(Clone, Debug)]
pub struct BookingCommand {
    pub ticket: Ticket,
    pub request: BookingRequest,
    pub hash: RequestHash,
    pub key: Option<IdempotencyDigest>,
    /// The envelope as it was received, for a dead letter should it come to that.
    pub payload: Box<str>,
    /// How often this booking failed alone and was set aside unsettled.
    pub set_aside: u32,
}

/// Something that cannot be processed, kept for whoever looks into it. Its ticket, if it is known, ends as its reason says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub ticket: Option<TicketId>,
    pub reason: DeadLetterReason,
    pub detail: String,
    pub payload: Vec<u8>,
}

impl DeadLetter {
    pub fn new(ticket: Option<TicketId>, reason: DeadLetterReason, detail: &str, payload: &[u8]) -> Self {
        // What a reader says of a value may quote it, and a text in Postgres holds no NUL.
        let detail = detail.replace('\0', "");
        Self { ticket, reason, detail, payload: payload.to_owned() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// The message is no parcel.
    UnreadableParcel,
    /// The envelope is no booking.
    UnreadableEnvelope,
    /// The ticket has been settled for another request: somebody forges, or we have a fault. Its outcome stands.
    TicketReused,
    /// The database refuses this booking's own data.
    RefusedByDatabase,
    /// The booking was set aside, and could not be settled until its deadline had passed. Its ticket ends as expired.
    SetAside,
    /// Workers died with this booking in hand, and nothing else.
    WorkersDied,
    /// The booking is a retry, and what is stored of the first try cannot be read.
    UnreadableOutcome,
    /// What is stored as the price of one of its seats cannot be read.
    UnreadablePrice,
}

impl DeadLetterReason {
    /// As it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableParcel => "unreadable-parcel",
            Self::UnreadableEnvelope => "unreadable-envelope",
            Self::TicketReused => "ticket-reused",
            Self::RefusedByDatabase => "refused-by-database",
            Self::SetAside => "set-aside",
            Self::WorkersDied => "workers-died",
            Self::UnreadableOutcome => "unreadable-outcome",
            Self::UnreadablePrice => "unreadable-price",
        }
    }

    /// How the ticket of such a letter ends.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::SetAside => Outcome::Expired,
            Self::UnreadableParcel
            | Self::UnreadableEnvelope
            | Self::TicketReused
            | Self::RefusedByDatabase
            | Self::WorkersDied
            | Self::UnreadableOutcome
            | Self::UnreadablePrice => Outcome::Failed,
        }
    }
}

/// What is settled together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub commands: Vec<BookingCommand>,
    pub dead_letters: Vec<DeadLetter>,
}

/// The version of an envelope that only a newer worker can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an envelope has version {0}: workers are upgraded before the api, so this one is too old")]
pub struct UnsupportedVersion(pub u16);

impl Batch {
    /// How many tickets this settles.
    pub fn len(&self) -> usize {
        self.commands.len() + self.dead_letters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the bookings of one message: all of them, or none if one of them is too new.
    pub fn add_parcel(&mut self, body: &[u8]) -> Result<(), UnsupportedVersion> {
        let envelopes = match Parcel::decode(body) {
            Ok(envelopes) => envelopes,
            Err(error) => {
                let reason = DeadLetterReason::UnreadableParcel;
                self.dead_letters.push(DeadLetter::new(None, reason, &error.to_string(), body));
                return Ok(());
            }
        };
        let mut added = Self::default();
        for raw in envelopes {
            match Envelope::decode(raw) {
                Ok(envelope) => added.commands.push(BookingCommand::new(envelope, raw.get())),
                Err(Undecodable::Newer(version)) => return Err(UnsupportedVersion(version)),
                Err(Undecodable::Unreadable { ticket, reason }) => {
                    let payload = raw.get().as_bytes();
                    added.dead_letters.push(DeadLetter::new(
                        ticket,
                        DeadLetterReason::UnreadableEnvelope,
                        &reason,
                        payload,
                    ));
                }
            }
        }
        self.append(added);
        Ok(())
    }

    /// Adds what came after it.
    pub fn append(&mut self, mut later: Self) {
        self.commands.append(&mut later.commands);
        self.dead_letters.append(&mut later.dead_letters);
    }

    /// The same, with nothing left to decide: each of its orders ends by a dead letter.
    #[must_use]
    pub fn into_dead_letters(self, reason: DeadLetterReason, detail: &str) -> Self {
        let mut dead_letters = self.dead_letters;
        dead_letters.extend(self.commands.iter().map(|command| command.dead_letter(reason, detail)));
        Self { commands: Vec::new(), dead_letters }
    }

    /// Whether every order's deadline has passed.
    pub fn is_past_deadline(&self, now: Timestamp) -> bool {
        self.commands.iter().all(|command| now > command.ticket.deadline)
    }

    /// Two halves, in order, neither empty; or the batch itself if it holds a single thing.
    pub fn split(mut self) -> Result<(Self, Self), Self> {
        if self.len() < 2 {
            return Err(self);
        }
        let half = self.len() / 2;
        let later = Self {
            commands: self.commands.split_off(half.min(self.commands.len())),
            dead_letters: self
                .dead_letters
                .split_off(half.saturating_sub(self.commands.len()).min(self.dead_letters.len())),
        };
        Ok((self, later))
    }
}

impl BookingCommand {
    pub fn new(envelope: Envelope, payload: &str) -> Self {
        let Envelope { ticket, idempotency_key, request } = envelope;
        Self {
            ticket,
            hash: request.hash(),
            key: idempotency_key.map(|key| key.digest(request.user_email())),
            request,
            payload: payload.into(),
            set_aside: 0,
        }
    }

    /// What is left of an order that ends so.
    pub fn dead_letter(&self, reason: DeadLetterReason, detail: &str) -> DeadLetter {
        DeadLetter::new(Some(self.ticket.id), reason, detail, self.payload.as_bytes())
    }
}
