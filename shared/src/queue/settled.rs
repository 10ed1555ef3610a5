//! What a worker announces after a commit: a hint that fills caches and wakes who waits. The database is the truth,
//! so losing one costs a moment and never a result.

use serde::{Deserialize, Serialize};

use crate::domain::SettledTicket;

/// One settled batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledMessage {
    pub tickets: Vec<SettledTicket>,
    /// How many bookings of the intake queue were in the batch, those that had been settled before not left out.
    pub bookings: u32,
    /// How many of that queue's messages they came in. Nothing of it is in what the reaper settles.
    pub parcels: u32,
}

impl SettledMessage {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an outcome has string keys only")
    }

    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}
