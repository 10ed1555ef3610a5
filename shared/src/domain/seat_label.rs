//! How a seat is named to people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SeatId;

/// A seat, and what it was called when a booking was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"id": 21, "section": "front", "row": 1, "seatNumber": "F-1"}))]
pub struct SeatLabel {
    pub id: SeatId,
    pub section: String,
    pub row: i32,
    /// Unique in its concert. Only seats that were sold by early versions may share one.
    pub seat_number: String,
}
