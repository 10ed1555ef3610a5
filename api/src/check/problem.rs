//! What a check finds.

use serde::Serialize;

/// How many ids are listed.
const LISTED_MAX: usize = 20;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Its name, for scripts: `sequences`, or a kind of the auditor such as `tier-counters`.
    pub rule: &'static str,
    /// What is wrong, with the first ids.
    pub found: String,
    /// What to do.
    pub action: String,
    /// What `--repair` does about it; `None` if it takes a decision.
    pub repair: Option<Repair>,
}

/// A repair that has one right result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Repair {
    /// Moves a sequence forward.
    #[serde(rename_all = "camelCase")]
    Sequence { sequence: String, table: String, to: i64 },
    /// Counts the seats of the tiers.
    TierCounters,
    /// Describes the seats of sales that lack it.
    DescribeSoldSeats,
    /// Computes missing digests of customers.
    DigestCustomers,
    /// Makes seats free that wait for a moment far in the future.
    FreeSeats,
    /// Gives concerts the version that they lack.
    ConcertVersions,
    /// Gathers statistics of a table.
    Analyze { table: String },
}

impl Problem {
    /// A problem whose action is `--repair`.
    pub fn repairable(rule: &'static str, found: String, repair: Repair) -> Self {
        Self { rule, found, action: "Run with --repair.".to_owned(), repair: Some(repair) }
    }

    /// A problem that takes a decision.
    pub fn to_decide(rule: &'static str, found: String, action: impl Into<String>) -> Self {
        Self { rule, found, action: action.into(), repair: None }
    }
}

/// `21, 22 and 3 more`.
pub fn listed<T: ToString>(ids: impl IntoIterator<Item = T>, count: u64) -> String {
    let ids: Vec<String> = ids.into_iter().take(LISTED_MAX).map(|id| id.to_string()).collect();
    match count.saturating_sub(ids.len() as u64) {
        0 => ids.join(", "),
        more => format!("{} and {more} more", ids.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_ends_with_the_number_of_those_left_out() {
        assert_eq!(listed([21, 22], 2), "21, 22");
        assert_eq!(listed(1..=25, 25), format!("{} and 5 more", listed(1..=20, 20)));
    }
}
