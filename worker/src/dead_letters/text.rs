//! The results of the commands as text, for a terminal.

use std::fmt::{self, Display};

use comfy_table::{Table, presets};
use hamro_shared::dead_letters::{Discarded, Letter, List, ListEntry, Payload, Reissued, TicketState};

/// A result, to be printed as text.
pub struct Text<'a, T>(pub &'a T);

impl Display for Text<'_, List> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let List { total, dead_letters } = self.0;
        if dead_letters.is_empty() {
            return write!(f, "No dead letters.");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["ID", "TIME", "TICKET", "REASON", "STATE"]);
        for entry in dead_letters {
            let ticket = entry.ticket_id.map_or_else(|| "unknown".to_owned(), |ticket| ticket.to_string());
            let (id, time) = (entry.id.to_string(), entry.created_at.to_string());
            table.add_row([id, time, ticket, entry.reason.clone(), state_of_entry(entry)]);
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        write!(f, "{}", table.trim_fmt())?;
        let older = total - i64::try_from(dead_letters.len()).unwrap_or(i64::MAX);
        if older > 0 {
            write!(f, "\n{older} older not shown: raise --limit.")?;
        }
        Ok(())
    }
}

fn state_of_entry(entry: &ListEntry) -> String {
    match (&entry.resolution, entry.reissued_as) {
        (Some(resolution), Some(ticket)) => format!("{resolution} as {ticket}"),
        (Some(resolution), None) => resolution.clone(),
        (None, Some(ticket)) => format!("open, being reissued as {ticket}"),
        (None, None) => "open".to_owned(),
    }
}

impl Display for Text<'_, Letter> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = self.0;
        let ticket =
            letter.ticket.as_ref().map_or_else(|| "unknown".to_owned(), |ticket| Text(ticket).to_string());
        let (encoding, payload) = match &letter.payload {
            Payload::Text(text) => ("payload", Printable(text).to_string()),
            Payload::Hex(digits) => ("payload, in hex", digits.clone()),
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for (name, value) in [
            ("dead letter", letter.id.to_string()),
            ("time", letter.created_at.to_string()),
            ("ticket", ticket),
            ("reason", letter.reason.clone()),
            ("detail", Printable(&letter.detail).to_string()),
            ("state", state_of_letter(letter)),
        ] {
            table.add_row([name.to_owned(), value]);
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        write!(f, "{}\n\n{encoding}:\n{payload}", table.trim_fmt())
    }
}

fn state_of_letter(letter: &Letter) -> String {
    let at = letter.resolved_at.map(|at| format!(" at {at}")).unwrap_or_default();
    match (letter.resolution.as_deref(), &letter.reissued_as) {
        (Some(resolution), Some(ticket)) => format!("{resolution}{at} as {}", Text(ticket)),
        (Some(resolution), None) => {
            format!("{resolution}{at}: {}", Printable(letter.discard_reason.as_deref().unwrap_or_default()))
        }
        (None, Some(ticket)) => format!("open, being reissued as {}", Text(ticket)),
        (None, None) => "open".to_owned(),
    }
}

impl Display for Text<'_, TicketState> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.ticket_id, self.0.status)
    }
}

impl Display for Text<'_, Reissued> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reissued { id, ticket_id, location, .. } = self.0;
        write!(f, "Dead letter {id} was reissued as ticket {ticket_id}.\nIts status: {location}")
    }
}

impl Display for Text<'_, Discarded> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dead letter {} is discarded.", self.0.id)
    }
}

/// Untrusted text for a terminal, with its control characters escaped.
struct Printable<'a>(&'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| {
            if char.is_control() && char != '\n' {
                write!(f, "{}", char.escape_default())
            } else {
                write!(f, "{char}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_text_is_not() {
        assert_eq!(Printable("a\u{1b}[2Jb\r\nनेपाल").to_string(), "a\\u{1b}[2Jb\\r\nनेपाल");
    }
}
