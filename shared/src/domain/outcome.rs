//! How a ticket can end. Each ticket gets exactly one outcome. Its status never changes; a booking can lose seats, when an
//! administrator releases them.
//!
//! Only workers write outcomes, so reading them does not apply the validation rules for input.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    Amount, ConcertId, CustomerName, Email, Price, Rejection, SeatId, SeatLabel, TicketId, TierId, Timestamp,
};

/// The final result of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "camelCase", try_from = "OutcomeWire")]
pub enum Outcome {
    /// The customer has all requested seats.
    Confirmed { booking: Booking },
    /// The customer has none of the seats, for a reason that lies with the request or the seats.
    Rejected { rejection: Rejection },
    /// The ticket was not settled before its deadline.
    Expired,
    /// The booking could not be processed. It is stored as a dead letter, which an operator resolves.
    Failed,
}

impl Outcome {
    /// A name of the outcome for metrics and traces: the status, or the code of the rejection.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Confirmed { .. } => "confirmed",
            Self::Rejected { rejection } => rejection.code(),
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

/// An outcome with the fields of all variants. Serde decodes it directly, whereas it would buffer an internally tagged
/// enum first.
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
    "seats": [
        {"id": 21, "section": "front", "row": 1, "seatNumber": "F-1"},
        {"id": 22, "section": "front", "row": 1, "seatNumber": "F-2"},
    ],
}))]
pub struct Booking {
    /// Number of the sale.
    pub id: i64,
    #[serde(default = "CustomerName::erased", deserialize_with = "stored_name")]
    #[schema(required = true)]
    pub user_name: CustomerName,
    #[serde(default = "Email::erased", deserialize_with = "stored_email")]
    #[schema(required = true)]
    pub user_email: Email,
    /// One line per tier and price, in the order of the requested seats.
    pub ticket_data: Vec<TierLine>,
    /// In the order of the request.
    pub seat_ids: Vec<SeatId>,
    // Required: an announcement of an earlier worker, which lacks it, is not decoded. The outcome is then read from the
    // database, which has it.
    /// The same seats, as they were called when they were sold.
    pub seats: Vec<SeatLabel>,
    /// Those of the seats that an administrator has released: they no longer belong to the booking. Missing if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub released_seat_ids: Vec<SeatId>,
}

/// The seats bought in one tier.
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
    /// `SUCCESS`. Other values may be added.
    // Not an enumeration, which generated clients would refuse to read with a value that they do not know.
    #[schema(value_type = String, example = "SUCCESS")]
    pub status: LineStatus,
    pub created_at: Timestamp,
    pub seat_numbers: Vec<String>,
}

/// Status of a line, kept for compatibility with the earlier system. Every line that is shown was sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LineStatus {
    #[default]
    Success,
}

/// A seat as it was sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldSeat {
    pub label: SeatLabel,
    pub concert_id: ConcertId,
    pub tier_id: TierId,
    pub price: Price,
}

impl Booking {
    /// Builds the booking that clients see from the sale `id`. `seats` are in the order of the request. The worker
    /// calls this after a sale and the api when it reads a sale back, so a customer sees the same booking either way.
    pub fn of_sale(
        id: i64,
        user_name: CustomerName,
        user_email: Email,
        sold_at: Timestamp,
        seats: Vec<SoldSeat>,
    ) -> Self {
        let mut ticket_data: Vec<TierLine> = Vec::new();
        for seat in &seats {
            let same = |line: &&mut TierLine| {
                line.ticket_tier_id == seat.tier_id && line.price_per_ticket == seat.price
            };
            match ticket_data.iter_mut().find(same) {
                Some(line) => {
                    line.quantity += 1;
                    line.total_amount = line.price_per_ticket.times(line.quantity);
                    line.seat_numbers.push(seat.label.seat_number.clone());
                }
                None => ticket_data.push(TierLine {
                    concert_id: seat.concert_id,
                    ticket_tier_id: seat.tier_id,
                    quantity: 1,
                    price_per_ticket: seat.price,
                    total_amount: seat.price.times(1),
                    status: LineStatus::Success,
                    created_at: sold_at,
                    seat_numbers: vec![seat.label.seat_number.clone()],
                }),
            }
        }
        let seat_ids = seats.iter().map(|seat| seat.label.id).collect();
        let seats = seats.into_iter().map(|seat| seat.label).collect();
        let released_seat_ids = Vec::new();
        Self { id, user_name, user_email, ticket_data, seat_ids, seats, released_seat_ids }
    }

    /// The same booking without these of its seats.
    #[must_use]
    pub fn with_released(self, released_seat_ids: Vec<SeatId>) -> Self {
        Self { released_seat_ids, ..self }
    }
}

fn stored_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CustomerName, D::Error> {
    Option::deserialize(deserializer).map(CustomerName::from_stored)
}

fn stored_email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Email, D::Error> {
    Option::deserialize(deserializer).map(Email::from_stored)
}

/// A ticket with its outcome. The status endpoint shows it, and workers announce it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledTicket {
    pub ticket_id: TicketId,
    pub settled_at: Timestamp,
    pub outcome: Outcome,
}

impl SettledTicket {
    /// The seats of the booking that were released.
    pub fn released_seat_ids(&self) -> &[SeatId] {
        match &self.outcome {
            Outcome::Confirmed { booking } => &booking.released_seat_ids,
            _ => &[],
        }
    }

    /// Tells the versions of a ticket's outcome apart: a later one has a larger number. Released seats do not come back.
    pub fn revision(&self) -> usize {
        self.released_seat_ids().len()
    }
}
