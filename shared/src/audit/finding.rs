//! What the auditor and `hamro-api check` look for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A rule that the tables must obey at every moment. Every transaction keeps them, so a snapshot that breaks one shows a
/// bug, a change by hand, or damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    DoubleSoldSeat,
    SeatMarkedWithoutSale,
    SaleOfFreeSeat,
    SaleOfMissingSeat,
    TierCounters,
    SaleWithoutSeats,
    SaleWithoutBooking,
    SoldSeatWithoutSale,
    BookingWithoutSale,
    MissingUniqueIndex,
}

impl Kind {
    /// All kinds but the first, which has a metric of its own.
    pub const MISMATCHES: [Self; 9] = [
        Self::SeatMarkedWithoutSale,
        Self::SaleOfFreeSeat,
        Self::SaleOfMissingSeat,
        Self::TierCounters,
        Self::SaleWithoutSeats,
        Self::SaleWithoutBooking,
        Self::SoldSeatWithoutSale,
        Self::BookingWithoutSale,
        Self::MissingUniqueIndex,
    ];

    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DoubleSoldSeat => "double-sold-seat",
            Self::SeatMarkedWithoutSale => "seat-marked-without-sale",
            Self::SaleOfFreeSeat => "sale-of-free-seat",
            Self::SaleOfMissingSeat => "sale-of-missing-seat",
            Self::TierCounters => "tier-counters",
            Self::SaleWithoutSeats => "sale-without-seats",
            Self::SaleWithoutBooking => "sale-without-booking",
            Self::SoldSeatWithoutSale => "sold-seat-without-sale",
            Self::BookingWithoutSale => "booking-without-sale",
            Self::MissingUniqueIndex => "missing-unique-index",
        }
    }

    /// What is wrong with the rows whose ids follow.
    pub fn description(self) -> &'static str {
        match self {
            Self::DoubleSoldSeat => "seats are in more than one live sale",
            Self::SeatMarkedWithoutSale => "seats are marked as sold and in no live sale",
            Self::SaleOfFreeSeat => "seats are in a live sale and not marked as sold",
            Self::SaleOfMissingSeat => "seats are in a live sale and do not exist",
            Self::TierCounters => "tiers have counters that differ from their seats",
            Self::SaleWithoutSeats => "sales have no seats",
            Self::SaleWithoutBooking => "sales belong to no confirmed booking",
            Self::SoldSeatWithoutSale => "sales have seats and do not exist",
            Self::BookingWithoutSale => "sales of confirmed bookings do not exist",
            Self::MissingUniqueIndex => "the unique index on the seats of live sales is missing or invalid",
        }
    }
}

/// A row that breaks a rule: a seat, a tier or a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub kind: Kind,
    pub id: i64,
}

/// The id of a finding that concerns no row.
pub const NO_ID: i64 = 0;

/// Numbers of findings.
pub type Counts = BTreeMap<Kind, u64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_stored_under_the_name_of_its_label() {
        for kind in Kind::MISMATCHES.into_iter().chain([Kind::DoubleSoldSeat]) {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
