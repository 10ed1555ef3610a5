//! The request of a booking.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Amount, ConcertId, CustomerName, Email, SeatId};

/// One customer's request for a set of seats: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "BookingRequestWire")]
pub struct BookingRequest {
    user_name: CustomerName,
    user_email: Email,
    seat_ids: Vec<SeatId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concert_id: Option<ConcertId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_total: Option<Amount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeatsError {
    #[error("must name at least one seat")]
    NoSeats,
    #[error("must name each seat once, but names {0} twice")]
    SameSeatTwice(SeatId),
}

/// The serialised form, before the request is validated as a whole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookingRequestWire {
    user_name: CustomerName,
    user_email: Email,
    seat_ids: Vec<SeatId>,
    concert_id: Option<ConcertId>,
    expected_total: Option<Amount>,
}

impl TryFrom<BookingRequestWire> for BookingRequest {
    type Error = SeatsError;

    fn try_from(wire: BookingRequestWire) -> Result<Self, SeatsError> {
        let request = Self::new(wire.user_name, wire.user_email, wire.seat_ids, wire.concert_id)?;
        Ok(request.expecting(wire.expected_total))
    }
}

impl BookingRequest {
    /// If `concert_id` is given, all seats must belong to that concert.
    pub fn new(
        user_name: CustomerName,
        user_email: Email,
        seat_ids: Vec<SeatId>,
        concert_id: Option<ConcertId>,
    ) -> Result<Self, SeatsError> {
        Self::check_seats(&seat_ids)?;
        Ok(Self { user_name, user_email, seat_ids, concert_id, expected_total: None })
    }

    /// The same request with a total that the customer agrees to pay: at any other, nothing must be sold.
    #[must_use]
    pub fn expecting(self, expected_total: Option<Amount>) -> Self {
        Self { expected_total, ..self }
    }

    /// Checks that there are seats, each of them once.
    pub fn check_seats(seat_ids: &[SeatId]) -> Result<(), SeatsError> {
        let mut sorted = seat_ids.to_vec();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            _ if sorted.is_empty() => Err(SeatsError::NoSeats),
            Some(pair) => Err(SeatsError::SameSeatTwice(pair[0])),
            None => Ok(()),
        }
    }

    pub fn user_name(&self) -> &CustomerName {
        &self.user_name
    }

    pub fn user_email(&self) -> &Email {
        &self.user_email
    }

    /// At least one seat, each once, in the customer's order.
    pub fn seat_ids(&self) -> &[SeatId] {
        &self.seat_ids
    }

    pub fn concert_id(&self) -> Option<ConcertId> {
        self.concert_id
    }

    /// The total that the customer agrees to pay. `None`: whatever it costs.
    pub fn expected_total(&self) -> Option<Amount> {
        self.expected_total
    }

    /// Identifies the request. Equal for two spellings of the same request (another order of the seats, another case of
    /// the address), different for anything that would book something else, or at another price.
    pub fn hash(&self) -> RequestHash {
        self.hash_with(&self.user_email.normalised())
    }

    /// The hash that a version writes which normalises the address to `address`.
    pub fn hash_with(&self, address: &str) -> RequestHash {
        let mut seats = self.seat_ids.clone();
        seats.sort_unstable();
        let mut hasher = Sha256::new();
        // Without a total, the hash is that of earlier versions, so that they and this one recognise each other's retries.
        match self.expected_total {
            None => hasher.update(b"book\0"),
            Some(total) => {
                let total = total.to_string();
                hasher.update(b"book for a total\0");
                hasher.update((total.len() as u64).to_be_bytes());
                hasher.update(total);
            }
        }
        for text in [self.user_name.as_str(), address] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        for seat in seats {
            hasher.update(seat.0.to_be_bytes());
        }
        if let Some(concert) = self.concert_id {
            hasher.update(concert.0.as_bytes());
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize()[..16]);
        RequestHash(hash)
    }
}

/// The first 128 bits of the SHA-256 of a request's canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestHash(pub [u8; 16]);

impl RequestHash {
    /// A hash from the database; `None` if it has the wrong length, which a repair by hand may have left.
    pub fn from_stored(hash: &[u8]) -> Option<Self> {
        hash.try_into().ok().map(Self)
    }
}

impl fmt::Debug for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestHash({})", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(email: &str, seats: &[i32]) -> BookingRequest {
        BookingRequest::new(
            CustomerName::parse("Alice").unwrap(),
            Email::parse(email).unwrap(),
            seats.iter().copied().map(SeatId).collect(),
            None,
        )
        .unwrap()
    }

    #[test]
    fn two_spellings_of_one_request_have_the_same_hash() {
        assert_eq!(
            request("alice@example.com", &[1, 2]).hash(),
            request("Alice@Example.com", &[2, 1]).hash()
        );
    }

    #[test]
    fn different_requests_have_different_hashes() {
        let hash = request("alice@example.com", &[1, 2]).hash();
        assert_ne!(hash, request("bob@example.com", &[1, 2]).hash());
        assert_ne!(hash, request("alice@example.com", &[1, 3]).hash());
        assert_ne!(hash, request("alice@example.com", &[1]).hash());
    }

    #[test]
    fn the_expected_total_is_part_of_the_hash_and_without_it_the_hash_is_that_of_earlier_versions() {
        let request = request("alice@example.com", &[1, 2]);
        // What earlier versions compute.
        assert_eq!(hex::encode(request.hash().0), "eb2f45367fa45117f7b658769f575a8c");
        let hash = |total| request.clone().expecting(Some(Amount::parse(total).unwrap())).hash();
        assert_ne!(hash("20.00"), request.hash());
        assert_ne!(hash("20.00"), hash("20.01"));
        assert_eq!(hash("20.00"), hash("20"), "two spellings of one amount");
    }

    #[test]
    fn a_deserialised_request_is_validated() {
        let json = |seats: &str| {
            format!(r#"{{"userName":"Alice","userEmail":"alice@example.com","seatIds":{seats}}}"#)
        };
        let parse = |seats: &str| serde_json::from_str::<BookingRequest>(&json(seats));
        assert_eq!(parse("[1,2]").unwrap(), request("alice@example.com", &[1, 2]));
        assert!(parse("[]").unwrap_err().to_string().contains("at least one seat"));
        assert!(parse("[7,1,7]").unwrap_err().to_string().contains("names 7 twice"));
    }
}
