//! What a worker takes from the queue. Whatever it is, it is read or refused; and what can be read is written as it was.

#![no_main]

use hamro_shared::queue::{Envelope, Parcel};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = Parcel::decode(bytes) else { return };
    let envelopes: Vec<Envelope> = raw.into_iter().filter_map(|raw| Envelope::decode(raw).ok()).collect();
    let mut parcel = Parcel::default();
    for envelope in &envelopes {
        parcel.push(&envelope.clone().encode());
    }
    let encoded = parcel.encode();
    let read = Parcel::decode(&encoded).expect("a parcel of ours can be read");
    let again: Vec<Envelope> = read.into_iter().map(|raw| Envelope::decode(raw).expect("an envelope of ours can be read")).collect();
    assert_eq!(again, envelopes);
});
