//! Which seats are of which controlled concert, as runs of consecutive ids: those of a concert are usually one run.

use hamro_shared::database::sold_seats::FreedVersions;
use hamro_shared::domain::{ConcertId, SeatId};
use sqlx::postgres::PgConnection;

/// Consecutive ids of seats of one concert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub concert: ConcertId,
    pub first: SeatId,
    pub last: SeatId,
}

/// Finds the concert of a seat.
#[derive(Debug, Default)]
pub struct SeatIndex {
    /// In the order of the ids.
    runs: Vec<Run>,
}

impl SeatIndex {
    fn new(mut runs: Vec<Run>) -> Self {
        runs.sort_unstable_by_key(|run| run.first);
        Self { runs }
    }

    /// The concert of the seat, if it is one of the controlled concerts.
    pub fn concert_of(&self, seat: SeatId) -> Option<ConcertId> {
        let next = self.runs.partition_point(|run| run.first <= seat);
        let run = self.runs[..next].last()?;
        (seat <= run.last).then_some(run.concert)
    }
}

/// What was read of the seats, and of which versions of the concerts that is true.
#[derive(Default)]
pub struct KnownSeats {
    versions: Option<FreedVersions>,
    runs: Vec<Run>,
}

impl KnownSeats {
    /// Those of the concerts whose seats must be read, because they were not read in the version that was found. A concert
    /// without a version is read each time.
    pub fn outdated(&self, concerts: &[ConcertId], found: Option<&FreedVersions>) -> Vec<ConcertId> {
        let is_current = |concert: ConcertId| {
            let (Some(known), Some(found)) = (&self.versions, found) else { return false };
            let version = version_of(found, concert);
            known.history == found.history && version.is_some() && version_of(known, concert) == version
        };
        concerts.iter().copied().filter(|concert| !is_current(*concert)).collect()
    }

    /// Adds the runs of the outdated concerts, which were read after `found`. Forgets concerts that are not controlled.
    pub fn update(
        &mut self,
        concerts: &[ConcertId],
        found: Option<FreedVersions>,
        outdated: &[ConcertId],
        read: Vec<Run>,
    ) -> SeatIndex {
        self.runs.retain(|run| concerts.contains(&run.concert) && !outdated.contains(&run.concert));
        self.runs.extend(read);
        self.versions = found;
        SeatIndex::new(self.runs.clone())
    }
}

fn version_of(versions: &FreedVersions, concert: ConcertId) -> Option<i64> {
    versions.concerts.iter().find(|(id, _)| *id == concert).map(|(_, version)| *version)
}

/// Reads the seats of these concerts, a row for each run.
pub async fn read_runs(
    connection: &mut PgConnection,
    concerts: &[ConcertId],
) -> Result<Vec<Run>, sqlx::Error> {
    sqlx::query_as!(
        Run,
        r#"
        SELECT concert_id AS "concert: ConcertId", min(id) AS "first!: SeatId", max(id) AS "last!: SeatId"
        FROM (
            SELECT concert_id, id, id - row_number() OVER (PARTITION BY concert_id ORDER BY id) AS island
            FROM seats WHERE concert_id = ANY($1)
        ) seat
        GROUP BY concert_id, island
        "#,
        concerts as &[ConcertId]
    )
    .fetch_all(connection)
    .await
}

#[cfg(test)]
mod tests {
    use hamro_shared::epoch::History;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> ConcertId {
        ConcertId(Uuid::from_u128(number))
    }

    fn run(concert: u128, first: i32, last: i32) -> Run {
        Run { concert: id(concert), first: SeatId(first), last: SeatId(last) }
    }

    fn versions(timeline: i64, concerts: &[(u128, i64)]) -> FreedVersions {
        let history = History { epoch: Uuid::nil(), timeline };
        FreedVersions {
            history,
            concerts: concerts.iter().map(|(concert, version)| (id(*concert), *version)).collect(),
        }
    }

    #[test]
    fn a_seat_is_of_the_concert_whose_run_contains_it() {
        let index = SeatIndex::new(vec![run(2, 11, 20), run(1, 1, 5), run(1, 8, 8), run(1, 30, 40)]);
        let concerts =
            [0, 1, 5, 6, 8, 9, 10, 11, 20, 21, 29, 30, 40, 41].map(|seat| index.concert_of(SeatId(seat)));
        let (one, two) = (Some(id(1)), Some(id(2)));
        let expected = [None, one, one, None, one, None, None, two, two, None, None, one, one, None];
        assert_eq!(concerts, expected);
        assert_eq!(SeatIndex::default().concert_of(SeatId(1)), None);
    }

    #[test]
    fn only_concerts_of_another_version_are_read_again() {
        let mut seats = KnownSeats::default();
        let concerts = [id(1), id(2), id(3)];
        // Concert 3 has no version.
        let found = versions(1, &[(1, 10), (2, 20)]);
        assert_eq!(seats.outdated(&concerts, Some(&found)), concerts);
        seats.update(&concerts, Some(found.clone()), &concerts, vec![run(1, 1, 5), run(2, 6, 9)]);
        assert_eq!(seats.outdated(&concerts, Some(&found)), [id(3)]);
        let changed = versions(1, &[(1, 11), (2, 20)]);
        assert_eq!(seats.outdated(&concerts, Some(&changed)), [id(1), id(3)]);
        let index = seats.update(&concerts, Some(changed.clone()), &[id(1), id(3)], vec![run(1, 1, 3)]);
        let found = [3, 4, 6].map(|seat| index.concert_of(SeatId(seat)));
        assert_eq!(found, [Some(id(1)), None, Some(id(2))]);
        // The database was restored, or the epoch was deleted.
        let restored = versions(2, &[(1, 11), (2, 20)]);
        assert_eq!(seats.outdated(&concerts, Some(&restored)), concerts);
        assert_eq!(seats.outdated(&concerts, None), concerts);
        // A concert without controls is forgotten.
        let index = seats.update(&[id(2)], Some(changed), &[], Vec::new());
        assert_eq!((index.concert_of(SeatId(1)), index.concert_of(SeatId(6))), (None, Some(id(2))));
    }
}
