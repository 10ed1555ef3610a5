//! Endpoints of the catalogue: concerts, ticket types, tiers and seats. Reading is public, writing needs the admin
//! token.

mod cached;
pub mod concert;
mod concert_body;
mod concert_time;
mod create_once;
mod queries;
mod removal;
mod seat;
mod seat_block;
mod seat_selection;
mod seats_of_concert;
mod ticket_tier;
mod ticket_type;
mod tier_precondition;

pub mod create_concert;
pub mod create_seats;
pub mod create_ticket_tier;
pub mod create_ticket_type;
pub mod delete_concert;
pub mod delete_seat;
pub mod delete_seats;
pub mod delete_ticket_tier;
pub mod delete_ticket_type;
pub mod follow_seats;
pub mod get_concert;
pub mod get_seat_layout;
pub mod get_seat_status;
pub mod get_ticket_tier;
pub mod list_all_ticket_tiers;
pub mod list_available_seats;
pub mod list_concerts;
pub mod list_seats;
pub mod list_ticket_tiers;
pub mod list_ticket_types;
pub mod page_data;
pub mod update_concert;
pub mod update_ticket_tier;
pub mod versions;

use sqlx::Error;

/// Whether the database rejected a statement because of this constraint.
fn is_violation_of(error: &Error, constraint: &str) -> bool {
    error.as_database_error().and_then(|error| error.constraint()) == Some(constraint)
}
