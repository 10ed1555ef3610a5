//! A seat, as clients see it.

use hamro_shared::domain::{ConcertId, SeatId, TierId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// A seat. It does not show who booked it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    #[schema(value_type = i32, example = 4)]
    pub id: SeatId,
    #[schema(value_type = Uuid, example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")]
    pub concert_id: ConcertId,
    #[schema(value_type = i32, example = 1)]
    pub ticket_tier_id: TierId,
    /// Unique in the concert. Only seats that were sold by early versions may share one.
    #[schema(example = "V-4")]
    pub seat_number: String,
    #[schema(example = 2)]
    pub row: i32,
    #[schema(example = "vip")]
    pub section: String,
    pub is_booked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub booked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
