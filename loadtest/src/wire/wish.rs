//! What a buyer asks for.

use serde::{Deserialize, Serialize};

/// What a buyer wants, and asks for once or more often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The buyer's number, from 0.
    pub buyer: u64,
    pub seats: Box<[i32]>,
    /// Which of the buyer's idempotency keys it goes under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<u32>,
}

/// The booking of a wish, as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BookingBody<'a> {
    user_name: String,
    user_email: String,
    seat_ids: &'a [i32],
}

impl Wish {
    /// The body of its request, in the run of this name.
    pub fn body(&self, run: &str) -> Vec<u8> {
        let user_name = format!("Buyer {}", self.buyer);
        let body = BookingBody { user_name, user_email: email(run, self.buyer), seat_ids: &self.seats };
        serde_json::to_vec(&body).expect("numbers and text")
    }

    /// Its idempotency key, which no other run uses.
    pub fn key(&self, run: &str) -> Option<String> {
        self.key.map(|key| format!("{run}-{}-{key}", self.buyer))
    }
}

/// The address by which a buyer of this run is known again.
pub fn email(run: &str, buyer: u64) -> String {
    format!("buyer{buyer}.{run}@example.com")
}

/// The number of the buyer whose address this is; nothing if it is nobody of this run.
pub fn buyer_of(run: &str, email: &str) -> Option<u64> {
    email
        .strip_prefix("buyer")?
        .strip_suffix("@example.com")?
        .strip_suffix(run)?
        .strip_suffix('.')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buyer_is_known_by_the_address_in_one_run_only() {
        assert_eq!(buyer_of("x1", &email("x1", 42)), Some(42));
        assert_eq!(buyer_of("x2", &email("x1", 42)), None);
        assert_eq!(buyer_of("x1", "alice@example.com"), None);
    }
}
