//! The status of the seats of a concert: one bit per seat of its layout.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::seat_feed::CurrentSeats;
use crate::seat_feed::layout_version::LayoutVersion;

/// Which seats of a layout are booked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatStatus {
    layout_version: LayoutVersion,
    #[schema(example = 20)]
    total_seats: usize,
    #[schema(example = 18)]
    available_seats: usize,
    /// A bit for each seat of the layout, which is 1 if the seat is booked. The first seat is the least significant bit of
    /// the first byte.
    #[schema(content_encoding = "base64", example = "AwAA")]
    booked: String,
}

/// The JSON of a [`SeatStatus`].
pub fn encode(seats: &CurrentSeats) -> Vec<u8> {
    let status = SeatStatus {
        layout_version: seats.layout_version,
        total_seats: seats.total,
        available_seats: seats.available,
        booked: STANDARD.encode(&seats.booked),
    };
    serde_json::to_vec(&status).expect("is JSON")
}
