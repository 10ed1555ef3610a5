//! Messages that a worker receives. Any bytes are decoded or rejected without a panic. Whatever can be decoded survives
//! being encoded and decoded again.

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
    let decoded = Parcel::decode(&encoded).expect("an encoded parcel can be decoded");
    let decoded: Vec<Envelope> = decoded
        .into_iter()
        .map(|raw| Envelope::decode(raw).expect("an encoded envelope can be decoded"))
        .collect();
    assert_eq!(decoded, envelopes);
});
