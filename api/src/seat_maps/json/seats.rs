//! The JSON of the seat map and of the list of available seats. It is written without a seat for each line in memory: an
//! instance may keep the seats of many concerts, and most of their text is the same.

use std::io::Write;
use std::sync::Arc;

use axum::body::Bytes;
use hamro_shared::domain::{ConcertId, Timestamp};

use crate::seat_feed::seat_table::{SeatRow, SeatTable};
use crate::seat_runs::Label;

/// Which seats a document contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    All,
    Available,
}

impl Selection {
    /// What metrics call the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "seats",
            Self::Available => "available",
        }
    }
}

/// How many seats a piece of a document has.
const SEATS_PER_PIECE: usize = 500;

/// About how long the JSON of a seat is.
const BYTES_PER_SEAT: usize = 260;

/// A `SeatMap` of the catalogue, or a list of `Seat`, in pieces: the JSON of a large concert is never in memory as a whole.
pub struct Pieces {
    table: Arc<SeatTable>,
    selection: Selection,
    available: usize,
    /// What follows the id of each seat.
    concert: String,
    sections: Vec<String>,
    moments: Moments,
    /// The place of the first seat of the next piece. `None` after the last one.
    next: Option<usize>,
    separator: &'static [u8],
}

impl Pieces {
    pub fn new(concert: ConcertId, table: Arc<SeatTable>, selection: Selection) -> Self {
        Self {
            selection,
            available: table.rows().filter(|seat| seat.booked_at.is_none()).count(),
            concert: format!(",\"concertId\":\"{concert}\",\"ticketTierId\":"),
            sections: table.sections().map(quoted).collect(),
            moments: Moments::default(),
            next: Some(0),
            separator: if selection == Selection::All { &b"{\"seats\":["[..] } else { &b"["[..] },
            table,
        }
    }

    fn write(&mut self, json: &mut Vec<u8>, first: usize) -> std::io::Result<()> {
        let is_selected = |seat: &SeatRow| self.selection == Selection::All || seat.booked_at.is_none();
        for seat in self.table.rows_from(first).take(SEATS_PER_PIECE).filter(is_selected) {
            let SeatRow { id, tier, section, row, label, booked_at, created_at, updated_at } = seat;
            json.extend(std::mem::replace(&mut self.separator, b","));
            write!(json, "{{\"id\":{id}{}{tier},\"seatNumber\":", self.concert)?;
            write_label(json, label)?;
            write!(json, ",\"row\":{row},\"section\":{},\"isBooked\":", self.sections[section])?;
            match booked_at {
                Some(booked_at) => {
                    json.extend(b"true,\"bookedAt\":");
                    self.moments.write(json, booked_at)?;
                }
                None => json.extend(b"false"),
            }
            json.extend(b",\"createdAt\":");
            self.moments.write(json, created_at)?;
            json.extend(b",\"updatedAt\":");
            self.moments.write(json, updated_at)?;
            json.push(b'}');
        }
        Ok(())
    }

    fn write_end(&mut self, json: &mut Vec<u8>) -> std::io::Result<()> {
        if self.separator != b"," {
            json.extend(self.separator);
        }
        json.push(b']');
        if self.selection == Selection::All {
            let (total, available) = (self.table.total(), self.available);
            let booked = total - available;
            write!(
                json,
                ",\"totalSeats\":{total},\"availableSeats\":{available},\"bookedSeats\":{booked}}}"
            )?;
        }
        Ok(())
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    /// A piece may be empty.
    fn next(&mut self) -> Option<Bytes> {
        let first = self.next?;
        let next = first + SEATS_PER_PIECE;
        let mut json = Vec::with_capacity(SEATS_PER_PIECE * BYTES_PER_SEAT);
        self.write(&mut json, first).expect("memory takes everything");
        self.next = (next < self.table.total()).then_some(next);
        if self.next.is_none() {
            self.write_end(&mut json).expect("memory takes everything");
        }
        Some(json.into())
    }
}

fn write_label(json: &mut Vec<u8>, label: Label<'_>) -> std::io::Result<()> {
    let is_plain = label.prefix.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if is_plain {
        write!(json, "\"{}", label.prefix)?;
    } else {
        let quoted = quoted(label.prefix);
        json.extend(&quoted.as_bytes()[..quoted.len() - 1]);
    }
    match label.number {
        Some(number) => write!(json, "{number}\""),
        None => write!(json, "\""),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("is text")
}

/// Writes moments as [`Timestamp`] does, with the date of the previous one where it is the same.
#[derive(Default)]
struct Moments {
    day: Option<i64>,
    date: String,
}

impl Moments {
    fn write(&mut self, json: &mut Vec<u8>, millis: i64) -> std::io::Result<()> {
        const DAY: i64 = 86_400_000;
        let (day, time) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
        if self.day != Some(day) {
            let date = Timestamp::from_unix_millis(day * DAY).map(|date| date.to_string());
            let date = date.as_deref().and_then(|date| date.split_once('T')).map_or("", |(date, _)| date);
            (self.day, self.date) = (Some(day), date.to_owned());
        }
        let (hours, minutes, seconds) = (time / 3_600_000, time / 60_000 % 60, time / 1_000 % 60);
        let millis = time % 1_000;
        write!(json, "\"{}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z\"", self.date)
    }
}
