//! Many bookings in one message, because the cost of the broker is per message.
//!
//! A parcel is a JSON array of envelopes. Each has its own ticket, deadline and outcome: an envelope that cannot be
//! read does not affect the others.

use serde_json::value::RawValue;

/// Message header with the number of bookings, for readers that do not decode the message.
pub const BOOKINGS_HEADER: &str = "x-bookings";

/// Builds a parcel.
#[derive(Debug, Default)]
pub struct Parcel {
    json: Vec<u8>,
    bookings: usize,
}

impl Parcel {
    /// The maximum number of bookings in a parcel.
    pub const MAX_BOOKINGS: usize = 64;
    /// A parcel that has reached this many bytes is full.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Adds an encoded envelope.
    pub fn push(&mut self, envelope: &[u8]) {
        self.json.push(if self.bookings == 0 { b'[' } else { b',' });
        self.json.extend_from_slice(envelope);
        self.bookings += 1;
    }

    pub fn is_full(&self) -> bool {
        self.bookings >= Self::MAX_BOOKINGS || self.json.len() >= Self::MAX_BYTES
    }

    pub fn bookings(&self) -> usize {
        self.bookings
    }

    /// Returns the message body.
    pub fn encode(mut self) -> Vec<u8> {
        if self.bookings == 0 {
            self.json.push(b'[');
        }
        self.json.push(b']');
        self.json
    }

    /// Splits a message body into its envelopes, which are not decoded yet.
    pub fn decode(body: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoded_parcel_has_its_envelopes_in_order() {
        let mut parcel = Parcel::default();
        for envelope in ["{\"v\":1}", "7", "null"] {
            parcel.push(envelope.as_bytes());
        }
        assert_eq!(parcel.bookings(), 3);
        let body = parcel.encode();
        let envelopes: Vec<&str> = Parcel::decode(&body).unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(envelopes, ["{\"v\":1}", "7", "null"]);
        assert!(Parcel::decode(&Parcel::default().encode()).unwrap().is_empty());
    }

    #[test]
    fn a_parcel_is_full_by_count_or_by_size() {
        let mut many = Parcel::default();
        (0..Parcel::MAX_BOOKINGS).for_each(|_| many.push(b"{}"));
        assert!(many.is_full());
        let mut large = Parcel::default();
        large.push(&vec![b' '; Parcel::MAX_BYTES]);
        assert!(large.is_full());
    }
}
