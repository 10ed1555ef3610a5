//! The scenarios.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use hamro_verification::contract::Target;

/// In the polls scenario, one in this many requests is a booking.
pub const POLLS_A_BOOKING: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// All buyers compete for the same few hundred seats; most bookings are rejected
    Rush,
    /// Every buyer wants different seats
    Spread,
    /// All buyers want the same seat
    HotSeat,
    /// Buyers choose free seats from the live seat map, and choose again after a rejection
    #[serde(alias = "herd")]
    #[value(alias = "herd")]
    LiveMap,
    /// Visitors open the page as a browser does, with all its requests; some of them book, and choose again after a rejection
    Opening,
    /// Status polls, with one booking per hundred requests
    Polls,
    /// Every buyer sends its request three times under one idempotency key, sometimes with other seats
    Replay,
    /// Like spread, for long runs; also checks memory and latency for drift
    Soak,
}

impl Scenario {
    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What its buyers want, after "10 000 buyers, ".
    pub fn intent(self, group_size: usize) -> String {
        let seats = if group_size == 1 { "1 seat".to_owned() } else { format!("{group_size} seats") };
        let up_to =
            if group_size == 1 { seats.clone() } else { format!("1 to {group_size} neighbouring seats") };
        match self {
            Self::Rush => format!("each of whom wants {up_to}"),
            Self::Spread | Self::Soak => format!("each of whom wants {seats} that nobody else wants"),
            Self::HotSeat => "all of whom want the same seat".to_owned(),
            Self::LiveMap => {
                "each of whom chooses free seats from the live map, and again if rejected".to_owned()
            }
            Self::Opening => {
                format!("who open the page; those who book want {}", up_to.replace(" neighbouring", ""))
            }
            Self::Polls => format!("one of {POLLS_A_BOOKING} of whom books while the others poll tickets"),
            Self::Replay => format!("each of whom books {seats} three times under one key"),
        }
    }

    /// Whether every buyer wants seats that no other buyer wants.
    pub fn wants_distinct_seats(self) -> bool {
        matches!(self, Self::Spread | Self::Soak | Self::Replay | Self::Polls)
    }

    /// Whether buyers choose free seats from the live map.
    pub fn chooses_from_the_map(self) -> bool {
        matches!(self, Self::LiveMap | Self::Opening)
    }

    /// Whether the report tells what a buyer costs, rather than a request.
    pub fn is_counted_by_buyer(self) -> bool {
        matches!(self, Self::Rush | Self::Opening)
    }

    /// The minimum number of seats for this many buyers with `group_size` seats each.
    pub fn seats_needed(self, buyers: u64, group_size: usize) -> usize {
        let buyers = usize::try_from(buyers).unwrap_or(usize::MAX);
        match self {
            Self::Rush | Self::LiveMap | Self::Opening => group_size,
            Self::HotSeat => 1,
            Self::Spread | Self::Soak | Self::Replay => buyers.saturating_mul(group_size),
            // Includes the booking before the first poll.
            Self::Polls => (buyers / POLLS_A_BOOKING + 2).saturating_mul(group_size),
        }
    }

    /// The default number of seats to create.
    pub fn usual_seats(self, buyers: u64, group_size: usize) -> usize {
        match self {
            Self::Rush | Self::LiveMap | Self::Opening => 300.max(group_size),
            _ => self.seats_needed(buyers, group_size),
        }
    }

    /// The default maximum number of seats per booking.
    pub fn usual_group_size(self) -> usize {
        match self {
            Self::Rush | Self::LiveMap | Self::Opening => 4,
            _ => 1,
        }
    }

    /// Whether the scenario works with this endpoint.
    pub fn works_with(self, target: Target) -> bool {
        target == Target::Async || !matches!(self, Self::LiveMap | Self::Polls)
    }
}
