//! The response with the seats of a concert, which two endpoints share.

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hamro_shared::domain::ConcertId;
use serde::Serialize;
use sqlx::postgres::PgConnection;

use super::queries::seats;
use super::seat::Seat;
use crate::http::client_address::Client;
use crate::http::etag::ETag;
use crate::http::problem::Problem;
use crate::seat_feed::version::{SeatMapVersion, concert_exists};
use crate::state::AppState;

/// A little less than a seat takes in JSON.
const BYTES_PER_SEAT: u64 = 200;

/// The response with the seats of a concert in the order of their ids, or only its free seats, as `document` shapes
/// them. If the client's `ETag` is current, the response is `304` and the seats are not read.
pub async fn seats_of_concert<T: Serialize>(
    app: &AppState,
    client: Client,
    concert: ConcertId,
    only_free: bool,
    headers: &HeaderMap,
    document: impl FnOnce(Vec<Seat>) -> T + Send + 'static,
) -> Result<Response, Problem> {
    // Read before the seats: if a seat is sold in between, the seats are newer than their tag, and the next request
    // reads them again.
    let version = app.database.query(move |connection| Box::pin(SeatMapVersion::load(connection, concert)));
    let version = version.await?;
    let etag = ETag::of(&version.tag);
    let cache = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    // A concert without tiers has no version.
    if !version.tag.is_empty() && etag.is_known_to(headers) {
        return Ok((StatusCode::NOT_MODIFIED, cache, etag, ()).into_response());
    }
    let seats = if only_free { version.available } else { version.total };
    let bytes = seats as u64 * BYTES_PER_SEAT;
    app.response_memory.check(client, bytes)?;
    let (memory, database) = (app.response_memory.clone(), app.database.clone());
    app.large_responses
        .build(headers, async move {
            // Again: while this request waited for its turn, others of the same client were answered.
            memory.check(client, bytes)?;
            let seats = database
                .query_large(move |connection| Box::pin(find_seats(connection, concert, only_free)))
                .await?
                .ok_or_else(|| Problem::not_found("concert"))?;
            Ok((cache, etag, Json(document(seats))).into_response())
        })
        .await
}

/// `None` if there is no such concert.
async fn find_seats(
    connection: &mut PgConnection,
    concert: ConcertId,
    only_free: bool,
) -> Result<Option<Vec<Seat>>, sqlx::Error> {
    let seats = seats::list(connection, concert, only_free).await?;
    if seats.is_empty() && !concert_exists(connection, concert).await? {
        return Ok(None);
    }
    Ok(Some(seats))
}
