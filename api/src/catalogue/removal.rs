//! Removes seats that are not sold.

use hamro_shared::domain::{ConcertId, SeatId};
use serde_json::json;
use sqlx::postgres::PgConnection;

use super::queries::seats::{self, LockedSeat};
use crate::http::problem::{Problem, ProblemCode};

/// How many sold seats a problem lists.
const LISTED_MAX: usize = 100;

/// Removes these seats of a concert, which must be locked, unless one of them is sold.
pub async fn remove(
    connection: &mut PgConnection,
    concert: ConcertId,
    selected: &[LockedSeat],
) -> Result<Result<(), Problem>, sqlx::Error> {
    let sold: Vec<&LockedSeat> = selected.iter().filter(|seat| seat.is_sold).collect();
    if !sold.is_empty() {
        return Ok(Err(has_sales(&sold)));
    }
    let ids: Vec<SeatId> = selected.iter().map(|seat| seat.id).collect();
    seats::delete_block(connection, concert, &ids).await.map(Ok)
}

fn has_sales(sold: &[&LockedSeat]) -> Problem {
    let detail = match sold {
        [seat] => {
            format!("Seat {} in row {} of section {} is sold.", seat.seat_number, seat.row, seat.section)
        }
        [first, ..] => format!(
            "{} of these seats are sold, the first is {} in row {} of section {}.",
            sold.len(),
            first.seat_number,
            first.row,
            first.section
        ),
        [] => String::new(),
    };
    let listed = &sold[..sold.len().min(LISTED_MAX)];
    let ids: Vec<SeatId> = listed.iter().map(|seat| seat.id).collect();
    let seats = listed.iter().map(|seat| {
        json!({"id": seat.id, "section": seat.section, "row": seat.row, "seatNumber": seat.seat_number})
    });
    Problem::new(ProblemCode::HasSales, format!("{detail} Nothing was removed."))
        .with("seatIds", json!(ids))
        .with("seats", seats.collect())
}
