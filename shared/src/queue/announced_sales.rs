//! What a settled batch tells instances that reject early: which seats it has sold, whose key each sale has, and from which
//! version of the seats on that is true.
//!
//! So no outcome is decoded for it. A seat takes at most 31 bytes with a key and 15 without, and a concert about 90. Workers of
//! earlier versions announce sales without it, and instances of earlier versions ignore it.

use serde::{Deserialize, Serialize};

use crate::domain::{ConcertId, IdempotencyDigest, KeyDigest, SaleKey, SeatId};
use crate::epoch::History;

/// The seats that one transaction has sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedSales {
    /// The history of the database that contains the sales.
    #[serde(flatten)]
    pub history: History,
    /// The version of the digests: [`IdempotencyDigest::VERSION`] of the worker.
    pub digest_version: u8,
    pub concerts: Vec<AnnouncedConcert>,
}

/// Those that belong to one concert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedConcert {
    pub concert_id: ConcertId,
    /// The concert's version while the transaction held the locks of the seats. An instance with another version, or of another
    /// history, must ignore the seats: some may have been freed since.
    pub freed_version: i64,
    /// Each with the digest of its sale's idempotency key; `None` if the booking had no key.
    pub seats: Vec<(SeatId, Option<KeyDigest>)>,
}

impl AnnouncedSales {
    /// What the digest of a sale says to this program.
    pub fn key(&self, digest: Option<KeyDigest>) -> SaleKey {
        match digest {
            None => SaleKey::None,
            Some(digest) if self.digest_version == IdempotencyDigest::VERSION => SaleKey::Digest(digest),
            Some(_) => SaleKey::Unknown,
        }
    }
}
