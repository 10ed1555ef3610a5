//! The history of a ticket as text.

use std::fmt::{self, Display, Formatter};

use hamro_shared::domain::{Rejection, SeatId};

use super::history::{Sale, State, TicketHistory};
use super::stored::{DeadLetter, Seat};

/// The width of the first column.
const WIDTH: usize = 13;

impl Display for TicketHistory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:WIDTH$}{}", "ticket", self.ticket_id)?;
        line(f, "log id", self.log_id.as_deref().unwrap_or("unknown: set LOG_KEY or TICKET_KEYS"))?;
        let genuine = match self.is_genuine {
            Some(true) => "signed by one of TICKET_KEYS",
            Some(false) => "not signed by any of TICKET_KEYS",
            None => "not verified: TICKET_KEYS is not set",
        };
        line(f, "issued", format_args!("{} ({genuine})", self.issued_at))?;
        line(f, "deadline", format_args!("{} at the latest", self.deadline))?;
        self.write_state(f)?;
        if let Some(sale) = &self.sale {
            write_sale(f, sale)?;
        }
        if let Some(customer) = &self.customer {
            let (name, email) = (Printable(&customer.user_name), Printable(&customer.user_email));
            line(f, "customer", format_args!("{name} <{email}>"))?;
        }
        if let Some(first) = self.shares_outcome_of {
            line(f, "retry of", format_args!("{first}, whose outcome it shares (same Idempotency-Key)"))?;
        }
        for retry in &self.shared_by {
            line(f, "retried as", format_args!("{retry}, which shares this outcome (same Idempotency-Key)"))?;
        }
        for letter in &self.dead_letters {
            line(f, "dead letter", letter)?;
        }
        if let Some(reissue) = &self.reissue_of {
            let ticket =
                reissue.ticket_id.map_or_else(|| "an unknown ticket".to_owned(), |id| id.to_string());
            line(f, "reissue of", format_args!("{ticket}, as dead letter {}", reissue.dead_letter_id))?;
        }
        Ok(())
    }
}

impl TicketHistory {
    fn write_state(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let at = self.settled_at.map(|at| format!(" at {at}")).unwrap_or_default();
        match self.state {
            State::Confirmed => line(f, "status", format_args!("confirmed{at}")),
            State::Rejected => {
                let code = self.code.as_deref().unwrap_or("for an unknown reason");
                let seats = self.rejection.as_ref().map(rejected_seats).unwrap_or_default();
                line(f, "status", format_args!("rejected{at}: {}{seats}", Printable(code)))
            }
            State::Expired => {
                line(f, "status", format_args!("expired{at}: it was not settled before its deadline"))
            }
            State::Failed => {
                line(f, "status", format_args!("failed{at}: an internal fault; see the dead letter"))
            }
            State::Unreadable => {
                let reason = self.unreadable.as_deref().unwrap_or_default();
                line(
                    f,
                    "status",
                    format_args!("settled, but its outcome cannot be read: {}", Printable(reason)),
                )
            }
            State::Queued => line(
                f,
                "status",
                "no outcome yet: the booking is in the queue, or the queue never received it",
            ),
            State::Overdue => line(
                f,
                "status",
                "no outcome, and its deadline has passed: it expires when a worker or its client asks for it",
            ),
            State::Deleted => line(
                f,
                "status",
                "nothing is stored any more: it was rejected or never settled (REJECTED_RETENTION)",
            ),
            State::Unknown => line(f, "status", "unknown: this installation has not issued it"),
        }
    }
}

fn write_sale(f: &mut Formatter<'_>, sale: &Sale) -> fmt::Result {
    line(f, "sale", sale.id)?;
    for seat in &sale.seats {
        line(f, "seat", seat)?;
    }
    for release in &sale.releases {
        let (by, reason) = (Printable(&release.released_by), Printable(&release.reason));
        let seats = list(&release.seat_ids);
        line(f, "release", format_args!("seats {seats} at {} by {by}: {reason}", release.released_at))?;
    }
    Ok(())
}

/// The seats that a rejection names.
fn rejected_seats(rejection: &Rejection) -> String {
    match rejection {
        Rejection::SeatsTaken { seat_ids, .. }
        | Rejection::SoldOut { seat_ids, .. }
        | Rejection::SeatsNotFound { seat_ids, .. } => format!(" (seats {})", list(seat_ids)),
        _ => String::new(),
    }
}

fn list(seats: &[SeatId]) -> String {
    seats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for Seat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seat_id)?;
        if let Some(number) = &self.seat_number {
            write!(f, ": {}", Printable(number))?;
        }
        if let Some(section) = &self.section {
            write!(f, ", {}", Printable(section))?;
        }
        if let Some(row) = self.row {
            write!(f, " row {row}")?;
        }
        write!(f, ", price {}", self.price)?;
        if let Some(concert) = &self.concert {
            write!(f, ", {}", Printable(concert))?;
        }
        self.released_at.map_or(Ok(()), |at| write!(f, " (released at {at})"))
    }
}

impl Display for DeadLetter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at {}; ", self.id, self.reason, self.created_at)?;
        let at = self.resolved_at.map(|at| format!(" at {at}")).unwrap_or_default();
        match (self.resolution.as_deref(), self.reissued_as) {
            (None, None) => write!(f, "open")?,
            (resolution, Some(ticket)) => {
                let resolution = resolution.unwrap_or("open, being reissued");
                let status = self.reissued_status.as_deref().unwrap_or("without an outcome");
                write!(f, "{resolution}{at} as {ticket} ({status})")?;
            }
            (Some(resolution), None) => {
                let reason = self.discard_reason.as_deref().unwrap_or_default();
                write!(f, "{resolution}{at}: {}", Printable(reason))?;
            }
        }
        self.trace_id.as_ref().map_or(Ok(()), |trace| write!(f, "; trace {trace}"))
    }
}

/// Stored text for a terminal, with its control characters escaped.
struct Printable<'a>(&'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| {
            if char.is_control() { write!(f, "{}", char.escape_default()) } else { write!(f, "{char}") }
        })
    }
}

fn line(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    write!(f, "\n{name:WIDTH$}{value}")
}
