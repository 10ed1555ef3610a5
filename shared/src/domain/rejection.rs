//! Why a booking was rejected.
//!
//! Only workers write rejections. A rejection is stored as JSON with a `code`, and codes are an open set: a newer
//! worker may write a code that this version does not know, or a known code with other members. Such a rejection is
//! kept unchanged, so that a retry that shares the outcome stores the same JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Amount, ConcertId, SeatId, SeatLabel, Timestamp};

/// Why a booking was rejected. `seats` describes the seats in `seat_ids`; workers of earlier versions left it out.
// `remote = "Self"`: the derived code becomes functions of the type, which the implementations below call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "code", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Rejection {
    /// These of the requested seats are sold.
    SeatsTaken {
        seat_ids: Vec<SeatId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seats: Vec<SeatLabel>,
    },
    /// These of the requested seats are sold, and so are all other seats of their concert.
    SoldOut {
        seat_ids: Vec<SeatId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seats: Vec<SeatLabel>,
    },
    /// These seats do not exist, or are not in the concert that the request names. Those in `seats` belong to another
    /// concert; without `seats`, it is unknown which do.
    SeatsNotFound {
        seat_ids: Vec<SeatId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seats: Option<Vec<SeatLabel>>,
        /// The concert that the request names, if it does not exist either.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing_concert_id: Option<ConcertId>,
    },
    /// The ticket was issued before the concert's sales window opened.
    SaleNotOpen { opens_at: Timestamp },
    /// The ticket was issued after the concert's sales window closed.
    SaleClosed { closed_at: Timestamp },
    /// The seats cost another total than the one that the customer has agreed to.
    PriceChanged { total: Amount, expected_total: Amount },
    /// The customer would hold more seats of the concert than its limit. The seats of all bookings count.
    LimitReached {
        concert_id: ConcertId,
        limit: u32,
        /// How many seats the customer holds; missing if the request alone exceeds the limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_seats: Option<u32>,
    },
    /// The customer used this idempotency key for a different request before.
    IdempotencyKeyReused,
    /// A rejection that this version cannot represent completely.
    #[serde(skip)]
    Other(StoredRejection),
}

/// The stored JSON of a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRejection(Value);

impl StoredRejection {
    pub fn code(&self) -> Option<&str> {
        self.0.get("code")?.as_str()
    }

    /// The rejection without the members that this version does not know. `None` if the code is unknown, or a member
    /// that belongs to it cannot be read.
    pub fn known(&self) -> Option<Rejection> {
        Rejection::deserialize(&self.0).ok()
    }
}

impl Rejection {
    /// The stored code; `other` if this version does not know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SeatsTaken { .. } => "seats-taken",
            Self::SoldOut { .. } => "sold-out",
            Self::SeatsNotFound { .. } => "seats-not-found",
            Self::SaleNotOpen { .. } => "sale-not-open",
            Self::SaleClosed { .. } => "sale-closed",
            Self::PriceChanged { .. } => "price-changed",
            Self::LimitReached { .. } => "limit-reached",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::Other(_) => "other",
        }
    }

    /// Whether a booking that was rejected for this reason holds its idempotency key, so that retries share the rejection. Only
    /// what depends on the sales of others holds one. Otherwise, anybody who guesses an address and a key could use up the
    /// key, with a booking of a seat that does not exist.
    pub fn holds_key(&self) -> bool {
        matches!(self, Self::SeatsTaken { .. } | Self::SoldOut { .. })
    }

    /// Accepts any JSON.
    pub fn from_stored(json: Value) -> Self {
        let stored = StoredRejection(json);
        let is_same = |known: &Self| serde_json::to_value(known).is_ok_and(|written| written == stored.0);
        match stored.known().filter(is_same) {
            Some(known) => known,
            None => Self::Other(stored),
        }
    }
}

impl Serialize for Rejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other(StoredRejection(json)) => json.serialize(serializer),
            known => Self::serialize(known, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Rejection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Rejection {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_unknown_rejection_is_written_back_unchanged() {
        for json in [
            r#"{"code":"limit-exceeded","limit":{"seats":4,"used":[1,2]},"note":null}"#,
            r#"{"code":"seats-taken","concertId":"755c","seatIds":[21]}"#,
            r#"{"code":"seats-taken"}"#,
            r#"{"code":"sale-closed","closedAt":"yesterday"}"#,
            r#"{"code":7}"#,
            r#"{"seatIds":[1]}"#,
            r#""no object""#,
            "null",
        ] {
            let rejection = read(json);
            assert!(matches!(rejection, Rejection::Other(_)), "{json}");
            let written = serde_json::to_value(&rejection).unwrap();
            assert_eq!(written, serde_json::from_str::<Value>(json).unwrap());
        }
    }

    #[test]
    fn a_known_rejection_is_recognized_despite_unknown_members() {
        let known = |json| match read(json) {
            Rejection::Other(stored) => (stored.code().map(str::to_owned), stored.known()),
            known => panic!("{known:?} is known"),
        };
        let taken = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)], seats: Vec::new() };
        let code = |code: &str| Some(code.to_owned());
        let with_more = r#"{"code":"seats-taken","seatIds":[21],"nextTo":[23]}"#;
        assert_eq!(known(with_more), (code("seats-taken"), Some(taken)));
        assert_eq!(known(r#"{"code":"seats-taken","seatIds":7}"#), (code("seats-taken"), None));
        assert_eq!(known(r#"{"code":"limit-exceeded"}"#), (code("limit-exceeded"), None));
        assert_eq!(known("[]"), (None, None));
    }
}
