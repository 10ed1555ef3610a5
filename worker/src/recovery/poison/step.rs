//! What to do with a message of the dead queue: a pure decision.

use hamro_shared::queue::{EnvelopeHeader, Parcel};
use serde_json::value::RawValue;

use crate::settlement::batch::{Batch, DeadLetter, DeadLetterReason, UnsupportedVersion};

/// After this many redeliveries an isolated booking counts as the cause. One or two deaths can be a coincidence.
const MAX_REDELIVERIES: u64 = 3;

#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Republish each booking as an isolated message.
    Isolate(Vec<&'a RawValue>),
    /// Settle a booking, or fail it with a dead letter.
    Settle(Batch),
    /// Only a newer worker can read it.
    Requeue(UnsupportedVersion),
}

/// - `is_isolated`: whether a worker published this message with a single booking. Any other parcel is split even if it
///   holds one booking: the delivery count of a message that the broker dead-lettered does not count attempts to settle
///   it alone.
/// - `delivery_count`: how often this message was redelivered.
/// - `set_aside`: how often the booking was set aside.
pub(super) fn next_step(body: &[u8], is_isolated: bool, delivery_count: u64, set_aside: u32) -> Step<'_> {
    if !is_isolated && let Ok(bookings) = Parcel::decode(body) {
        return Step::Isolate(bookings);
    }
    let batch = if delivery_count < MAX_REDELIVERIES {
        retry(body, set_aside)
    } else {
        exhausted(body, delivery_count)
    };
    batch.map_or_else(Step::Requeue, Step::Settle)
}

fn retry(body: &[u8], set_aside: u32) -> Result<Batch, UnsupportedVersion> {
    let mut batch = Batch::default();
    batch.add_parcel(body)?;
    for command in &mut batch.commands {
        command.set_aside = set_aside;
    }
    Ok(batch)
}

/// Reads as little as possible of a booking whose content may kill the process.
fn exhausted(body: &[u8], delivery_count: u64) -> Result<Batch, UnsupportedVersion> {
    let detail = format!(
        "a worker died or lost its broker connection {delivery_count} times while settling this booking alone"
    );
    let mut batch = Batch::default();
    let Ok(bookings) = Parcel::decode(body) else {
        // Every worker fails to decode the parcel at this line, before it handles any booking, so no booking has caused
        // the redeliveries.
        return retry(body, 0);
    };
    for booking in bookings {
        let header = EnvelopeHeader::of(booking);
        if let Some(version) = header.newer_version() {
            return Err(UnsupportedVersion(version));
        }
        let payload = booking.get().as_bytes();
        let letter = DeadLetter::new(header.ticket(), DeadLetterReason::WorkersDied, &detail, payload);
        batch.dead_letters.push(DeadLetter { trace: header.trace(), ..letter });
    }
    if batch.is_empty() {
        batch.dead_letters.push(DeadLetter::new(None, DeadLetterReason::WorkersDied, &detail, body));
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hamro_shared::domain::{BookingRequest, CustomerName, Email, SeatId, Ticket, TicketId, Timestamp};
    use hamro_shared::queue::Envelope;
    use uuid::Uuid;

    use super::*;

    fn booking(ticket: u128) -> String {
        let now = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let request = BookingRequest::new(
            CustomerName::parse("Alice").unwrap(),
            Email::parse("alice@example.com").unwrap(),
            vec![SeatId(1)],
            None,
        )
        .unwrap();
        let id = TicketId(Uuid::from_u128(ticket));
        let ticket = Ticket { id, deadline: now + Duration::from_mins(15) };
        String::from_utf8(Envelope { ticket, idempotency_key: None, request, trace: None }.encode()).unwrap()
    }

    fn parcel(bookings: &[String]) -> Vec<u8> {
        format!("[{}]", bookings.join(",")).into_bytes()
    }

    fn settled(step: Step) -> Batch {
        match step {
            Step::Settle(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_dead_lettered_parcel_is_split_whatever_its_delivery_count() {
        for bookings in [vec![], vec![booking(1)], vec![booking(1), booking(2)]] {
            let body = parcel(&bookings);
            let Step::Isolate(isolated) = next_step(&body, false, 21, 0) else { panic!("was not isolated") };
            assert_eq!(isolated.iter().map(|booking| booking.get()).collect::<Vec<_>>(), bookings);
        }
    }

    #[test]
    fn a_booking_that_is_isolated_is_tried_three_times_and_then_fails() {
        let body = parcel(&[booking(1)]);
        for delivery_count in 0..3 {
            let batch = settled(next_step(&body, true, delivery_count, 0));
            assert_eq!((batch.commands.len(), batch.dead_letters.len()), (1, 0), "{delivery_count}");
        }
        let batch = settled(next_step(&body, true, 3, 0));
        assert!(batch.commands.is_empty());
        let letter = &batch.dead_letters[0];
        assert_eq!(letter.ticket, Some(TicketId(Uuid::from_u128(1))));
        assert_eq!(letter.reason, DeadLetterReason::WorkersDied);
        assert_eq!(letter.payload, booking(1).into_bytes());
    }

    #[test]
    fn an_unreadable_parcel_is_stored_whole() {
        let batch = settled(next_step(b"no parcel", false, 0, 0));
        assert_eq!(batch.dead_letters[0].reason, DeadLetterReason::UnreadableParcel);
        assert_eq!(batch.dead_letters[0].payload, b"no parcel");
        for delivery_count in [3, 100] {
            let batch = settled(next_step(b"no parcel", true, delivery_count, 0));
            assert_eq!(batch.dead_letters[0].reason, DeadLetterReason::UnreadableParcel, "{delivery_count}");
            assert_eq!(batch.dead_letters[0].payload, b"no parcel");
        }
    }

    #[test]
    fn a_newer_version_is_requeued_whatever_its_delivery_count() {
        let body = parcel(&[booking(1).replace("\"v\":1", "\"v\":9")]);
        for delivery_count in [0, 3, 100] {
            assert!(
                matches!(next_step(&body, true, delivery_count, 0), Step::Requeue(UnsupportedVersion(9))),
                "{delivery_count}"
            );
        }
    }
}
