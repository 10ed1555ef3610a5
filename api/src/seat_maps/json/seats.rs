//! The JSON of the seat map and of the list of available seats. It is written without a seat for each line in memory: an
//! instance may keep the seats of many concerts, and most of their text is the same.

use std::io::Write;

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

/// About how long the JSON of a seat is.
const BYTES_PER_SEAT: usize = 260;

/// A `SeatMap` of the catalogue, or a list of `Seat`.
pub fn encode(concert: ConcertId, table: &SeatTable, selection: Selection) -> Vec<u8> {
    let available = table.rows().filter(|seat| seat.booked_at.is_none()).count();
    let seats = if selection == Selection::All { table.total() } else { available };
    let mut json = Vec::with_capacity(seats * BYTES_PER_SEAT + 100);
    if selection == Selection::All {
        json.extend(b"{\"seats\":");
    }
    write_seats(&mut json, concert, table, selection).expect("memory takes everything");
    if selection == Selection::All {
        let (total, booked) = (table.total(), table.total() - available);
        write!(json, ",\"totalSeats\":{total},\"availableSeats\":{available},\"bookedSeats\":{booked}}}")
            .expect("memory takes everything");
    }
    json
}

fn write_seats(
    json: &mut Vec<u8>,
    concert: ConcertId,
    table: &SeatTable,
    selection: Selection,
) -> std::io::Result<()> {
    let sections: Vec<String> = table.sections().map(quoted).collect();
    let concert = format!(",\"concertId\":\"{concert}\",\"ticketTierId\":");
    let mut moments = Moments::default();
    let mut separator = b"[";
    for seat in table.rows().filter(|seat| selection == Selection::All || seat.booked_at.is_none()) {
        let SeatRow { id, tier, section, row, label, booked_at, created_at, updated_at } = seat;
        json.extend(separator);
        separator = b",";
        write!(json, "{{\"id\":{id}{concert}{tier},\"seatNumber\":")?;
        write_label(json, label)?;
        write!(json, ",\"row\":{row},\"section\":{},\"isBooked\":", sections[section])?;
        match booked_at {
            Some(booked_at) => {
                json.extend(b"true,\"bookedAt\":");
                moments.write(json, booked_at)?;
            }
            None => json.extend(b"false"),
        }
        json.extend(b",\"createdAt\":");
        moments.write(json, created_at)?;
        json.extend(b",\"updatedAt\":");
        moments.write(json, updated_at)?;
        json.push(b'}');
    }
    if separator == b"[" {
        json.push(b'[');
    }
    json.push(b']');
    Ok(())
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
