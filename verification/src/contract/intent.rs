//! Booking requests.

use hyper::Method;
use hyper::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::http::{Client, RequestBuilder};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A booking that a buyer wants, and may send several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingIntent {
    /// The buyer's number, from 0.
    pub buyer: u64,
    pub seats: Box<[i32]>,
    /// Number of the buyer's idempotency key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<u32>,
}

/// The body of a booking request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BookingBody<'a> {
    user_name: String,
    user_email: String,
    seat_ids: &'a [i32],
}

impl BookingIntent {
    /// The request that books on the endpoint `path`. `run` is the name of the run.
    pub fn request<'a>(&self, client: &'a Client, path: &str, run: &str) -> RequestBuilder<'a> {
        let request = client.request(Method::POST, path).encoded_json(self.body(run));
        match self.key {
            Some(key) => request.header(IDEMPOTENCY_KEY, format!("\"{run}-{}-{key}\"", self.buyer)),
            None => request,
        }
    }

    fn body(&self, run: &str) -> Vec<u8> {
        let user_name = format!("Buyer {}", self.buyer);
        let body = BookingBody { user_name, user_email: email(run, self.buyer), seat_ids: &self.seats };
        serde_json::to_vec(&body).expect("a body has string keys only")
    }
}

/// The e-mail address that identifies a buyer of this run.
pub fn email(run: &str, buyer: u64) -> String {
    format!("buyer{buyer}.{run}@example.com")
}

/// An SQL pattern that matches the addresses of this run's buyers.
pub fn email_pattern(run: &str) -> String {
    format!("buyer%.{run}@example.com")
}

/// The number of the buyer with this address. `None` if it belongs to no buyer of this run.
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
    fn an_address_identifies_a_buyer_of_one_run_only() {
        assert_eq!(buyer_of("x1", &email("x1", 42)), Some(42));
        assert_eq!(buyer_of("x2", &email("x1", 42)), None);
        assert_eq!(buyer_of("x1", "alice@example.com"), None);
    }
}
