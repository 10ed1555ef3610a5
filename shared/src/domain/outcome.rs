//! How a ticket can end. Exactly one of these is wire for each, once, and never changes.
//!
//! Only workers write outcomes. So they are read without the rules for input.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Amount, ConcertId, CustomerName, Email, Price, Rejection, SeatId, TicketId, TierId, Timestamp};

/// The end of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "camelCase", try_from = "OutcomeWire")]
pub enum Outcome {
    /// All the seats are the customer's.
    Confirmed { booking: Booking },
    /// None of the seats are, for a reason that lies with the request or the seats.
    Rejected { rejection: Rejection },
    /// Nobody settled it before its deadline.
    Expired,
    /// It could not be processed, for a fault of ours; operators have been told.
    Failed,
}

/// An outcome with all that any of them can have, the form in which serde reads it without a copy of the whole.
#[derive(Deserialize)]
struct OutcomeWire {
    status: Status,
    booking: Option<Booking>,
    rejection: Option<Rejection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Confirmed,
    Rejected,
    Expired,
    Failed,
}

impl TryFrom<OutcomeWire> for Outcome {
    type Error = &'static str;

    fn try_from(wire: OutcomeWire) -> Result<Self, Self::Error> {
        Ok(match wire.status {
            Status::Confirmed => Self::Confirmed { booking: wire.booking.ok_or("no booking")? },
            Status::Rejected => Self::Rejected { rejection: wire.rejection.ok_or("no rejection")? },
            Status::Expired => Self::Expired,
            Status::Failed => Self::Failed,
        })
    }
}

/// A confirmed booking, in the shape of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": 40205, "userName": "Alice", "userEmail": "alice@example.com",
    "ticketData": [{
        "concertId": "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "ticketTierId": 2, "quantity": 2,
        "pricePerTicket": "50.00", "totalAmount": "100.00", "status": "SUCCESS",
        "createdAt": "2026-11-22T16:56:03.990Z", "seatNumbers": ["F-1", "F-2"],
    }],
    "seatIds": [21, 22],
}))]
pub struct Booking {
    /// The number of the sale.
    pub id: i64,
    #[serde(default = "CustomerName::erased", deserialize_with = "stored_name")]
    #[schema(required = true)]
    pub user_name: CustomerName,
    #[serde(default = "Email::erased", deserialize_with = "stored_email")]
    #[schema(required = true)]
    pub user_email: Email,
    /// A line for each tier that seats were bought in, in the order of the customer's seats.
    pub ticket_data: Vec<TierLine>,
    /// In the order that the customer gave.
    pub seat_ids: Vec<SeatId>,
}

/// What was bought of one tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierLine {
    pub concert_id: ConcertId,
    pub ticket_tier_id: TierId,
    pub quantity: u32,
    #[serde(deserialize_with = "Price::deserialize_stored")]
    pub price_per_ticket: Price,
    #[schema(value_type = Price)]
    pub total_amount: Amount,
    pub status: LineStatus,
    pub created_at: Timestamp,
    pub seat_numbers: Vec<String>,
}

/// The earlier system's word on a line; a line that is shown was sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LineStatus {
    #[default]
    Success,
}

/// A seat as it was sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldSeat {
    pub id: SeatId,
    pub number: String,
    pub concert_id: ConcertId,
    pub tier_id: TierId,
    pub price: Price,
}

impl Booking {
    /// The booking that the sale `id` of `seats` at the moment `sold_at` makes. `seats` are in the order that the
    /// customer gave. The worker calls this for what it has just sold and the intake for what it reads back, so
    /// that both tell a customer the same.
    pub fn of_sale(
        id: i64,
        user_name: CustomerName,
        user_email: Email,
        sold_at: Timestamp,
        seats: Vec<SoldSeat>,
    ) -> Self {
        let mut ticket_data: Vec<TierLine> = Vec::new();
        let seat_ids = seats.iter().map(|seat| seat.id).collect();
        for seat in seats {
            let same = |line: &&mut TierLine| {
                line.ticket_tier_id == seat.tier_id && line.price_per_ticket == seat.price
            };
            match ticket_data.iter_mut().find(same) {
                Some(line) => {
                    line.quantity += 1;
                    line.total_amount = line.price_per_ticket.times(line.quantity);
                    line.seat_numbers.push(seat.number);
                }
                None => ticket_data.push(TierLine {
                    concert_id: seat.concert_id,
                    ticket_tier_id: seat.tier_id,
                    quantity: 1,
                    price_per_ticket: seat.price,
                    total_amount: seat.price.times(1),
                    status: LineStatus::Success,
                    created_at: sold_at,
                    seat_numbers: vec![seat.number],
                }),
            }
        }
        Self { id, user_name, user_email, ticket_data, seat_ids }
    }
}

fn stored_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CustomerName, D::Error> {
    Option::deserialize(deserializer).map(CustomerName::from_stored)
}

fn stored_email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Email, D::Error> {
    Option::deserialize(deserializer).map(Email::from_stored)
}

/// A ticket that has reached its end: what a status shows, and what the workers tell the intake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledTicket {
    pub ticket_id: TicketId,
    pub settled_at: Timestamp,
    pub outcome: Outcome,
}
