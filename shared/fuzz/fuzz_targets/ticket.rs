//! Ticket ids as clients send them. Only ids that were issued are accepted.

#![no_main]

use hamro_shared::domain::{TicketKeys, Timestamp};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

const KEY: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

fuzz_target!(|input: (&str, i64, u8)| {
    let (text, millis, bit) = input;
    let keys = TicketKeys::parse(KEY).expect("the key is valid");
    if let Some(ticket) = keys.verify(text) {
        assert!(text.eq_ignore_ascii_case(&ticket.to_string()), "{text} was accepted as {ticket}");
    }
    // Up to the year 10889, the range of 48 bits.
    let Some(issued_at) = Timestamp::from_unix_millis(millis.rem_euclid(1 << 48)) else { return };
    let ticket = keys.issue(issued_at);
    assert_eq!(keys.verify(&ticket.to_string()), Some(ticket));
    assert_eq!(ticket.issued_at(), issued_at);
    // One bit of the MAC differs.
    let forged = Uuid::from_u128(ticket.0.as_u128() ^ 1 << (bit % 32));
    assert_eq!(keys.verify(&forged.to_string()), None);
});
