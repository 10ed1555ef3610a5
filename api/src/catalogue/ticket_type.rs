//! A ticket type, the category of a tier.

use serde::Serialize;
use utoipa::ToSchema;

/// A kind of ticket. Tiers of any concert can have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketType {
    #[schema(example = 2)]
    pub id: i32,
    #[schema(example = "Front Row")]
    pub name: String,
}
