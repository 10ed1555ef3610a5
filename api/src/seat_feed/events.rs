//! The events of a seat map, as clients receive them.

use hamro_shared::domain::SeatId;
use serde::Serialize;
use utoipa::ToSchema;

use super::layout_version::LayoutVersion;

/// All booked seats: the first event of a stream, sent again if changes were missed.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"layoutVersion": "9b1c5e0d2f7a4c360f8fad5bd9cb469f", "totalSeats": 100, "availableSeats": 98, "bookedSeatIds": [21, 22]}))]
pub struct SeatsSnapshot {
    /// The version of the layout. If it differs from the loaded one, load the layout or the seat map again.
    pub layout_version: LayoutVersion,
    /// If this differs from the loaded seat map, seats were added or removed: load the map again.
    pub total_seats: usize,
    pub available_seats: usize,
    /// Every other seat is available.
    pub booked_seat_ids: Vec<SeatId>,
}

/// The seats that have changed since the previous event.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"availableSeats": 96, "bookedSeatIds": [23, 42], "freedSeatIds": []}))]
pub struct SeatsChange {
    pub available_seats: usize,
    /// Seats that are booked now.
    pub booked_seat_ids: Vec<SeatId>,
    /// Seats that are available again.
    pub freed_seat_ids: Vec<SeatId>,
}

/// The concert, its tiers or their types have changed since the version before.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"version": "0cc175b9c0f1b6a831c399e269772661"}))]
pub struct CatalogueVersion {
    /// Compare it as a text. If it differs from that of the previous event, load the concert and its tiers again. Sales do not
    /// change it.
    pub version: String,
}

/// An event as it is sent to all clients, serialized once.
#[derive(Debug, PartialEq, Eq)]
pub struct SeatsEvent {
    pub id: String,
    pub name: &'static str,
    pub data: String,
}
