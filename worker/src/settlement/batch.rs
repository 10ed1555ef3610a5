//! A batch: the bookings of some whole parcels, in the order of arrival.

use hamro_shared::domain::{
    Booking, BookingRequest, Email, IdempotencyDigest, Outcome, RequestHash, SoldSeat, Ticket, TicketId,
    Timestamp,
};
use hamro_shared::queue::{Envelope, EnvelopeHeader, Parcel, Undecodable};
use hamro_shared::telemetry::traces::TraceContext;

/// A request to book seats: what settlement decides on.
#[derive(Clone, Debug)]
pub struct BookingCommand {
    pub ticket: Ticket,
    pub request: BookingRequest,
    pub hash: RequestHash,
    pub key_digest: Option<IdempotencyDigest>,
    /// What earlier versions stored instead, if they normalised the address differently.
    pub earlier: Vec<StoredIdentity>,
    /// The envelope as it was received, in case it becomes a dead letter.
    pub payload: Box<str>,
    /// How often this booking failed alone and was set aside.
    pub set_aside: u32,
    /// The span that published it, if its trace is exported.
    pub trace: Option<TraceContext>,
}

/// What identifies a request and its idempotency key in `bookings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredIdentity {
    pub hash: RequestHash,
    pub key_digest: Option<IdempotencyDigest>,
}

/// Something that cannot be processed, stored for an operator. Its ticket, if known, ends as
/// [`DeadLetterReason::outcome`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub ticket: Option<TicketId>,
    pub reason: DeadLetterReason,
    pub detail: String,
    pub payload: Vec<u8>,
    /// The span that published the booking, if its trace is exported.
    pub trace: Option<TraceContext>,
}

impl DeadLetter {
    pub fn new(ticket: Option<TicketId>, reason: DeadLetterReason, detail: &str, payload: &[u8]) -> Self {
        // A parser's message may quote the value, and a Postgres text cannot hold NUL.
        let detail = detail.replace('\0', "");
        Self { ticket, reason, detail, payload: payload.to_owned(), trace: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// The message is not a parcel.
    UnreadableParcel,
    /// The envelope is not a booking.
    UnreadableEnvelope,
    /// The ticket was settled for another request: a forgery, or a bug. Its outcome stands.
    TicketReused,
    /// The database rejects a value of this booking.
    RefusedByDatabase,
    /// The booking was set aside and not settled before its deadline. Its ticket ends as expired.
    SetAside,
    /// Workers died while they settled this booking alone.
    WorkersDied,
    /// The booking is a retry, and the stored outcome of the first attempt cannot be read.
    UnreadableOutcome,
    /// The stored price of one of its seats cannot be read.
    UnreadablePrice,
}

impl DeadLetterReason {
    /// The value in the table.
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

    /// The outcome of the letter's ticket.
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

/// The bookings and dead letters that one transaction settles.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub commands: Vec<BookingCommand>,
    pub dead_letters: Vec<DeadLetter>,
}

/// An envelope that only a newer worker can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an envelope has version {0}; upgrade the workers before the api")]
pub struct UnsupportedVersion(pub u16);

impl Batch {
    /// The number of bookings and dead letters.
    pub fn len(&self) -> usize {
        self.commands.len() + self.dead_letters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the bookings of one message: all of them, or none if one has an unsupported version.
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
                    let letter =
                        DeadLetter::new(ticket, DeadLetterReason::UnreadableEnvelope, &reason, payload);
                    let trace = EnvelopeHeader::of(raw).trace();
                    added.dead_letters.push(DeadLetter { trace, ..letter });
                }
            }
        }
        self.append(added);
        Ok(())
    }

    /// The tickets whose bookings are in traces that are exported, with the spans that published them.
    pub fn traced(&self) -> impl Iterator<Item = (TicketId, TraceContext)> {
        let commands = self.commands.iter().map(|command| (Some(command.ticket.id), command.trace));
        let letters = self.dead_letters.iter().map(|letter| (letter.ticket, letter.trace));
        commands.chain(letters).filter_map(|(ticket, trace)| ticket.zip(trace))
    }

    /// Adds a batch that arrived later.
    pub fn append(&mut self, mut later: Self) {
        self.commands.append(&mut later.commands);
        self.dead_letters.append(&mut later.dead_letters);
    }

    /// Turns every command of the batch into a dead letter.
    #[must_use]
    pub fn into_dead_letters(self, reason: DeadLetterReason, detail: &str) -> Self {
        let mut dead_letters = self.dead_letters;
        dead_letters.extend(self.commands.iter().map(|command| command.dead_letter(reason, detail)));
        Self { commands: Vec::new(), dead_letters }
    }

    /// Whether the deadline of every command has passed.
    pub fn is_past_deadline(&self, now: Timestamp) -> bool {
        self.commands.iter().all(|command| command.ticket.is_past_deadline(now))
    }

    /// The tickets that end by a dead letter, each once, without those that are settled or that have a readable
    /// envelope in this batch too.
    pub fn tickets_of_letters(&self, is_settled: impl Fn(TicketId) -> bool) -> Vec<(TicketId, Outcome)> {
        let mut tickets: Vec<(TicketId, Outcome)> = self
            .dead_letters
            .iter()
            .filter_map(|letter| letter.ticket.map(|ticket| (ticket, letter.reason.outcome())))
            .collect();
        tickets.sort_by_key(|(ticket, _)| *ticket);
        tickets.dedup_by_key(|(ticket, _)| *ticket);
        tickets.retain(|(ticket, _)| {
            !is_settled(*ticket) && self.commands.iter().all(|command| command.ticket.id != *ticket)
        });
        tickets
    }

    /// The dead letters to store: all but those of set-aside bookings that another worker has decided on in the
    /// meantime.
    pub fn letters_to_store(&self, is_decided: impl Fn(TicketId) -> bool) -> Vec<DeadLetter> {
        let is_obsolete = |letter: &DeadLetter| {
            letter.reason == DeadLetterReason::SetAside && letter.ticket.is_some_and(&is_decided)
        };
        self.dead_letters.iter().filter(|letter| !is_obsolete(letter)).cloned().collect()
    }

    /// Two halves, in order, neither empty; or the batch itself if it holds a single ticket.
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
        let Envelope { ticket, idempotency_key, request, trace } = envelope;
        let identity = |address: &str| StoredIdentity {
            hash: request.hash_with(address),
            key_digest: idempotency_key.as_ref().map(|key| key.digest_with(address)),
        };
        let StoredIdentity { hash, key_digest } = identity(&request.user_email().normalised());
        let earlier = request.user_email().earlier_forms().iter().map(|form| identity(form)).collect();
        Self { ticket, hash, key_digest, earlier, request, payload: payload.into(), set_aside: 0, trace }
    }

    /// Whether `hash` is stored for this request.
    pub fn is_for(&self, hash: RequestHash) -> bool {
        self.hash == hash || self.earlier.iter().any(|earlier| earlier.hash == hash)
    }

    /// Whether an earlier version has stored a booking of `email` under this key's digest of that time. The address is compared by
    /// the current rules: by the earlier ones, some addresses of different customers had one digest.
    pub fn had_key(&self, digest: IdempotencyDigest, email: &Email) -> bool {
        self.earlier.iter().any(|earlier| earlier.key_digest == Some(digest))
            && email.normalised() == self.request.user_email().normalised()
    }

    /// What clients see of this command once its seats are sold under the sale `id`.
    pub(super) fn booking(&self, id: i64, seats: Vec<SoldSeat>, sold_at: Timestamp) -> Booking {
        let (name, email) = (self.request.user_name().clone(), self.request.user_email().clone());
        Booking::of_sale(id, name, email, sold_at, seats)
    }

    /// The dead letter of this command.
    pub fn dead_letter(&self, reason: DeadLetterReason, detail: &str) -> DeadLetter {
        let letter = DeadLetter::new(Some(self.ticket.id), reason, detail, self.payload.as_bytes());
        DeadLetter { trace: self.trace, ..letter }
    }
}
