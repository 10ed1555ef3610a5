//! What the endpoints share that respond with documents about the seats of a concert.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::http::client_address::Client;
use crate::http::problem::{Problem, ProblemCode};
use crate::http::ready_body::CachePolicy;
use crate::seat_feed::SeatFeedError;
use crate::seat_maps::{Document, SeatMapError};
use crate::state::AppState;

/// Names the last event whose changes a status contains, as the request for the events does.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The response with a document.
pub fn respond(
    app: &AppState,
    client: Client,
    headers: &HeaderMap,
    policy: CachePolicy,
    document: Document,
) -> Result<Response, Problem> {
    let mut response = document.body.respond(headers, policy, document.age);
    if let Some(id) = document.last_event_id {
        response.headers_mut().insert(LAST_EVENT_ID, id);
    }
    app.response_memory.count_streamed(client, response)
}

impl From<SeatMapError> for Problem {
    fn from(error: SeatMapError) -> Self {
        match error {
            SeatMapError::Feed(error) => error.into(),
            SeatMapError::LayoutChanged => {
                // The layout may come back, and another instance may know it already.
                Self::of(ProblemCode::LayoutChanged)
                    .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
            }
            SeatMapError::TimedOut => Self::of(ProblemCode::Overloaded).retry_after(2).caused_by(error),
            SeatMapError::Failed(error) => Self::internal(error),
        }
    }
}

impl From<SeatFeedError> for Problem {
    fn from(error: SeatFeedError) -> Self {
        match error {
            SeatFeedError::ConcertNotFound => Self::not_found("concert"),
            SeatFeedError::TimedOut | SeatFeedError::TooManyLoads => {
                Self::of(ProblemCode::Overloaded).retry_after(2).caused_by(error)
            }
            SeatFeedError::Aborted(_) | SeatFeedError::Unverified => {
                Self::of(ProblemCode::DatabaseUnavailable).retry_after(2).caused_by(error)
            }
            SeatFeedError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hamro_shared::domain::{ConcertId, SeatId, TierId, Timestamp};
    use proptest::prelude::*;
    use serde_json::Value;
    use uuid::Uuid;

    use crate::catalogue::seat::Seat;
    use crate::seat_feed::seat_table::{SeatTable, SeatTableBuilder, StoredSeat};
    use crate::seat_maps::Selection;
    use crate::seat_maps::json::seats::Pieces;
    use crate::seat_maps::json::{layout, status};

    const CONCERT: ConcertId = ConcertId(Uuid::from_u128(0x755c_b316));

    /// Seats of blocks, as organisers create them, among some that were written by hand.
    fn any_seats() -> impl Strategy<Value = Vec<StoredSeat>> {
        let section = prop_oneof!["vip", "floor", "\"b\\\u{1}é"].boxed();
        let label = prop_oneof![4 => Just(String::new()), 1 => "[A-Z0-9\"é-]{0,4}[0-9]{0,11}"];
        let moment = -62_135_596_800_000_i64..253_402_300_799_999;
        let seat = (1..3_i32, 1..3_i32, 1..3_i32, section, label, prop::option::of(moment.clone()), moment);
        prop::collection::vec(seat, 0..60).prop_map(|seats| {
            let mut id = 0;
            let at = |millis| Timestamp::from_unix_millis(millis).unwrap();
            let seats = seats.into_iter().map(|(gap, tier, row, section, label, booked, updated)| {
                id += if gap == 1 { 1 } else { gap * 7 };
                let label = if label.is_empty() { format!("V-{id}") } else { label };
                let (id, tier) = (SeatId(id), TierId(tier));
                let booked_at = booked.map(at);
                StoredSeat {
                    id,
                    tier,
                    label,
                    row,
                    section,
                    booked_at,
                    created_at: at(1),
                    updated_at: at(updated),
                }
            });
            seats.collect()
        })
    }

    fn table(seats: &[StoredSeat]) -> SeatTable {
        let mut builder = SeatTableBuilder::with_capacity(seats.len());
        for seat in seats {
            builder.push(seat);
        }
        builder.finish(1)
    }

    fn document(seat: &StoredSeat) -> Seat {
        Seat {
            id: seat.id,
            concert_id: CONCERT,
            ticket_tier_id: seat.tier,
            seat_number: seat.label.clone(),
            row: seat.row,
            section: seat.section.clone(),
            is_booked: seat.booked_at.is_some(),
            booked_at: seat.booked_at,
            created_at: seat.created_at,
            updated_at: seat.updated_at,
        }
    }

    fn seat_list(table: &SeatTable, selection: Selection) -> String {
        let pieces = Pieces::new(CONCERT, Arc::new(table.clone()), selection);
        String::from_utf8(pieces.flatten().collect()).unwrap()
    }

    /// What a page makes of a layout and a status: id, tier, label, row, section and whether it is booked.
    fn decode(layout: &Value, status: &Value) -> Vec<(i64, Value, String, Value, Value, bool)> {
        assert_eq!(layout["layoutVersion"], status["layoutVersion"]);
        let bits = STANDARD.decode(status["booked"].as_str().unwrap()).unwrap();
        let mut seats = Vec::new();
        for run in layout["runs"].as_array().unwrap() {
            for place in 0..run["count"].as_i64().unwrap() {
                let number =
                    run["firstNumber"].as_u64().map(|first| (first + place.unsigned_abs()).to_string());
                let position = |list: &str, place: &str| {
                    layout[list][usize::try_from(run[place].as_u64().unwrap()).unwrap()].clone()
                };
                seats.push((
                    run["firstId"].as_i64().unwrap() + place,
                    position("tiers", "tier"),
                    format!("{}{}", run["prefix"].as_str().unwrap(), number.unwrap_or_default()),
                    run["row"].clone(),
                    position("sections", "section"),
                    bits[seats.len() / 8] & (1 << (seats.len() % 8)) != 0,
                ));
            }
        }
        seats
    }

    proptest! {
        #[test]
        fn the_seat_map_is_what_its_seats_serialize_to(seats in any_seats()) {
            let table = table(&seats);
            let all: Vec<Seat> = seats.iter().map(document).collect();
            let booked = all.iter().filter(|seat| seat.is_booked).count();
            let expected = format!(
                "{{\"seats\":{},\"totalSeats\":{},\"availableSeats\":{},\"bookedSeats\":{booked}}}",
                serde_json::to_string(&all).unwrap(), all.len(), all.len() - booked
            );
            prop_assert_eq!(seat_list(&table, Selection::All), expected);
            let available: Vec<&Seat> = all.iter().filter(|seat| !seat.is_booked).collect();
            let expected = serde_json::to_string(&available).unwrap();
            prop_assert_eq!(seat_list(&table, Selection::Available), expected);
        }

        #[test]
        fn layout_and_status_say_what_the_seat_map_says(seats in any_seats()) {
            let table = table(&seats);
            let booked = table.booked();
            let status = status::encode(&crate::seat_feed::CurrentSeats {
                layout_version: table.layout_version(),
                total: table.total(),
                available: booked.available(),
                booked: booked.bits().to_vec(),
                last_event_id: String::new(),
                revision: 1,
            });
            let status: Value = serde_json::from_slice(&status).unwrap();
            let layout: Value = serde_json::from_slice(&layout::encode(&table)).unwrap();
            let map: Value =
                serde_json::from_str(&seat_list(&table, Selection::All)).unwrap();
            let expected: Vec<_> = map["seats"].as_array().unwrap().iter().map(|seat| (
                seat["id"].as_i64().unwrap(),
                seat["ticketTierId"].clone(),
                seat["seatNumber"].as_str().unwrap().to_owned(),
                seat["row"].clone(),
                seat["section"].clone(),
                seat["isBooked"].as_bool().unwrap(),
            )).collect();
            prop_assert_eq!(decode(&layout, &status), expected);
            for count in ["totalSeats", "availableSeats"] {
                prop_assert_eq!(&status[count], &map[count]);
            }
            prop_assert_eq!(&layout["totalSeats"], &map["totalSeats"]);
        }
    }

    fn block(seats: i32) -> Vec<StoredSeat> {
        let at = Timestamp::from_unix_millis(1).unwrap();
        let seat = |n| StoredSeat {
            id: SeatId(n + 1),
            tier: TierId(1),
            label: format!("V-{}", n + 1),
            row: n / 50,
            section: "vip".to_owned(),
            booked_at: None,
            created_at: at,
            updated_at: at,
        };
        (0..seats).map(seat).collect()
    }

    #[test]
    fn a_seat_map_of_many_pieces_has_each_seat_once() {
        let mut seats = block(2_000);
        for seat in &mut seats[400..1_100] {
            seat.booked_at = Some(seat.created_at);
        }
        let table = table(&seats);
        let map: Value = serde_json::from_str(&seat_list(&table, Selection::All)).unwrap();
        let all: Vec<Seat> = seats.iter().map(document).collect();
        assert_eq!(map["seats"], serde_json::to_value(&all).unwrap());
        let available: Value = serde_json::from_str(&seat_list(&table, Selection::Available)).unwrap();
        let expected: Vec<&Seat> = all.iter().filter(|seat| !seat.is_booked).collect();
        assert_eq!(available, serde_json::to_value(&expected).unwrap());
        let pieces = Pieces::new(CONCERT, Arc::new(table), Selection::All);
        let longest = pieces.map(|piece| piece.len()).max().unwrap();
        assert!(longest < 150_000, "{longest} bytes are in memory at once");
    }

    #[test]
    fn the_layout_of_a_block_is_one_run_per_row() {
        let json = layout::encode(&table(&block(20_000)));
        let layout: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(layout["runs"].as_array().unwrap().len(), 400);
        let whole = crate::http::ready_body::ReadyBody::json(json).bytes();
        assert!(whole < 60_000, "{whole} bytes in all encodings");
    }
}
