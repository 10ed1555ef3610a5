//! Bookings as the product knows them, so that the models decide with its own code.

use std::collections::HashMap;

use hamro_shared::domain::{
    BookingRequest, ConcertId, CustomerName, Email, IdempotencyKey, Price, SeatId, Ticket, TicketId, TierId,
    Timestamp,
};
use hamro_shared::queue::Envelope;
use hamro_worker::settlement::allocation::{Concert, Inventory, Seat};
use hamro_worker::settlement::batch::BookingCommand;
use rust_decimal::Decimal;
use uuid::Uuid;

const CONCERT: ConcertId = ConcertId(Uuid::from_u128(1));
const TIER: TierId = TierId(1);

/// A moment of a model's clock, which counts in units of the caller's choice, as a timestamp. Moments before zero
/// exist, so that a clock may be slow.
pub fn moment(millis: i64) -> Timestamp {
    const BEGIN: i64 = 1_795_364_062_000;
    Timestamp::from_unix_millis(BEGIN + millis).expect("is in chrono's range")
}

/// The ticket with this number, issued at this moment.
pub fn ticket_id(number: u8, issued_at: Timestamp) -> TicketId {
    let millis = u128::from(issued_at.unix_millis().unsigned_abs());
    TicketId(Uuid::from_u128(millis << 80 | u128::from(number)))
}

/// The booking that one customer sends for these seats.
pub fn command(ticket: Ticket, seats: &[u8], key: Option<&str>) -> BookingCommand {
    let request = BookingRequest::new(
        CustomerName::parse("Alice").expect("is a name"),
        Email::parse("alice@example.com").expect("is an address"),
        seats.iter().map(|seat| SeatId(i32::from(*seat))).collect(),
        None,
    );
    let request = request.expect("names each seat once");
    let idempotency_key = key.map(|key| IdempotencyKey::new(key).expect("is a key"));
    BookingCommand::new(Envelope { ticket, idempotency_key, request, trace: None }, "")
}

/// The locked seats, each with whether it can be sold.
pub fn inventory(seats: impl IntoIterator<Item = (u8, bool)>) -> Inventory {
    let seats: HashMap<SeatId, Seat> = seats
        .into_iter()
        .map(|(id, is_sold)| {
            let (id, number, section) = (SeatId(i32::from(id)), id.to_string(), String::new());
            let seat = Seat {
                concert_id: CONCERT,
                tier_id: TIER,
                section,
                row: 1,
                number,
                is_sold,
                free_from: None,
            };
            (id, seat)
        })
        .collect();
    // One seat that is not modelled is always left: no refusal says "sold out" instead of "seats taken".
    let concert = Concert { available: 1, ..Concert::default() };
    Inventory {
        seats,
        prices: HashMap::from([(TIER, Price::from_stored(Decimal::ONE))]),
        concerts: HashMap::from([(CONCERT, concert)]),
        ..Inventory::default()
    }
}

/// Makes a seat free only for tickets that are issued at this time or later.
pub fn free_from(inventory: &mut Inventory, seat: u8, time: Timestamp) {
    if let Some(seat) = inventory.seats.get_mut(&SeatId(i32::from(seat))) {
        seat.free_from = Some(time);
    }
}
