//! What a transaction has sold, as it is announced to instances that reject early (decision 39).

use std::collections::{BTreeMap, HashMap};

use hamro_shared::domain::{ConcertId, IdempotencyDigest, KeyDigest, SeatId};
use hamro_shared::epoch::History;
use hamro_shared::queue::{AnnouncedConcert, AnnouncedSales};

use super::allocation::Decision;
use super::batch::BookingCommand;

/// The history and the versions of the concerts, read while the transaction held the locks of the seats.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    /// `None` if somebody has deleted the epoch.
    pub history: Option<History>,
    pub freed: HashMap<ConcertId, i64>,
}

/// The seats that these decisions sell. Those of a concert without a version are left out: nobody could tell until when they are
/// sold.
pub(super) fn announced_sales(
    versions: &Versions,
    commands: &[BookingCommand],
    decisions: &[Decision],
) -> Option<AnnouncedSales> {
    let history = versions.history?;
    let mut sold: BTreeMap<ConcertId, Vec<(SeatId, Option<KeyDigest>)>> = BTreeMap::new();
    for (command, decision) in commands.iter().zip(decisions) {
        if let Decision::Sell(seats) = decision {
            let digest = command.key_digest.map(IdempotencyDigest::short);
            for seat in seats {
                sold.entry(seat.concert_id).or_default().push((seat.label.id, digest));
            }
        }
    }
    let concert = |(concert_id, seats)| {
        let freed_version = *versions.freed.get(&concert_id)?;
        Some(AnnouncedConcert { concert_id, freed_version, seats })
    };
    let concerts: Vec<AnnouncedConcert> = sold.into_iter().filter_map(concert).collect();
    let digest_version = IdempotencyDigest::VERSION;
    (!concerts.is_empty()).then_some(AnnouncedSales { history, digest_version, concerts })
}
