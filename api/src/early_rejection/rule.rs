//! The rule of early rejection: when an instance may reject a booking that it has not queued (decision 39).
//!
//! Pure functions of what an instance knows, so that tests try every case and the model of early rejection (`model/`) calls
//! them. Whatever the rule does not allow is queued, and a worker decides.

use std::time::Duration;

use hamro_shared::domain::{KeyDigest, SaleKey};
use hamro_shared::epoch::History;

/// How long a comparison with the database counts, from its beginning.
pub const LEASE: Duration = Duration::from_secs(1);

/// Which state of a concert's seats something was read in. It changes whenever a seat may become free: `history` when the
/// database is restored or a standby promoted, `freed_version` in each transaction that frees, adds or removes seats of the
/// concert. A sale does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeatsVersion {
    pub history: History,
    pub freed_version: i64,
}

/// The sales of a sold seat.
#[derive(Clone, Copy, Debug)]
pub struct SoldSeat<'a> {
    pub live: SaleKey,
    /// Earlier sales, which were released.
    pub released: &'a [SaleKey],
}

/// Whether a comparison that began at `began` counts at `now`. Both are times of the [`boot_clock`](crate::boot_clock).
pub fn has_lease(began: Option<Duration>, now: Duration) -> bool {
    let age = began.and_then(|began| now.checked_sub(began));
    age.is_some_and(|age| age < LEASE)
}

/// Whether an instance that knows the seats as of `known` may learn a sale that was made at `announced`. An announcement that
/// comes late names a sale that may have been released since.
pub fn applies(announced: SeatsVersion, known: SeatsVersion) -> bool {
    announced == known
}

/// Whether a booking that wants these sold seats, and perhaps others, may be rejected. `keys` are the digests of its idempotency
/// key in all forms in which it may have been stored; none if it has no key.
///
/// One seat is enough that was sold to others, now and whenever it was sold before: a sale of an earlier attempt under the
/// same key would have been a sale of all its seats. If a seat is sold under the same key, the client uses the key for
/// different requests, which the worker tells it.
pub fn may_reject(keys: &[KeyDigest], sold: &[SoldSeat<'_>]) -> bool {
    let is_own = |sale: SaleKey| matches!(sale, SaleKey::Digest(digest) if keys.contains(&digest));
    let is_of_others = |sale: SaleKey| match sale {
        SaleKey::None => true,
        SaleKey::Digest(digest) => !keys.contains(&digest),
        SaleKey::Unknown => keys.is_empty(),
    };
    let was_never_own =
        |seat: &SoldSeat<'_>| is_of_others(seat.live) && seat.released.iter().copied().all(is_of_others);
    sold.iter().any(was_never_own) && !sold.iter().any(|seat| is_own(seat.live))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// Few, so that they often meet.
    fn digest() -> impl Strategy<Value = KeyDigest> {
        (0..3_u64).prop_map(KeyDigest)
    }

    fn sale_key() -> impl Strategy<Value = SaleKey> {
        prop_oneof![Just(SaleKey::None), digest().prop_map(SaleKey::Digest), Just(SaleKey::Unknown)]
    }

    /// The sales of up to three sold seats.
    fn seats() -> impl Strategy<Value = Vec<(SaleKey, Vec<SaleKey>)>> {
        vec((sale_key(), vec(sale_key(), 0..3)), 0..4)
    }

    fn judge(keys: &[KeyDigest], seats: &[(SaleKey, Vec<SaleKey>)]) -> bool {
        let sold: Vec<SoldSeat<'_>> =
            seats.iter().map(|(live, released)| SoldSeat { live: *live, released }).collect();
        may_reject(keys, &sold)
    }

    fn may_be(sale: SaleKey, key: KeyDigest) -> bool {
        matches!(sale, SaleKey::Unknown) || sale == SaleKey::Digest(key)
    }

    proptest! {
        #[test]
        fn a_booking_of_seats_that_are_not_sold_is_queued(keys in vec(digest(), 0..3)) {
            prop_assert!(!judge(&keys, &[]));
        }

        #[test]
        fn a_booking_without_a_key_is_rejected_if_a_seat_is_sold(seats in seats()) {
            prop_assert_eq!(judge(&[], &seats), !seats.is_empty());
        }

        /// An earlier attempt was sold, under this key or an unknown one, and perhaps released since: all its seats have that sale.
        #[test]
        fn a_retry_of_a_booking_that_was_sold_is_queued(
            key in digest(),
            mut seats in seats(),
            own in vec((any::<bool>(), any::<bool>()), 3),
        ) {
            for ((live, released), (is_released, is_known)) in seats.iter_mut().zip(own) {
                let sale = if is_known { SaleKey::Digest(key) } else { SaleKey::Unknown };
                if is_released { released.push(sale) } else { *live = sale }
            }
            prop_assert!(!judge(&[key], &seats));
        }

        #[test]
        fn a_keyed_booking_is_rejected_only_because_of_a_seat_that_was_never_sold_under_its_key(
            keys in vec(digest(), 1..3),
            seats in seats(),
        ) {
            let proves = |(live, released): &(SaleKey, Vec<SaleKey>)| {
                keys.iter().all(|key| released.iter().chain([live]).all(|sale| !may_be(*sale, *key)))
            };
            prop_assert!(!judge(&keys, &seats) || seats.iter().any(proves));
            let is_sold_under_it = |(live, _): &(SaleKey, Vec<SaleKey>)| {
                keys.iter().any(|key| *live == SaleKey::Digest(*key))
            };
            let is_certain = seats.iter().any(proves) && !seats.iter().any(is_sold_under_it);
            prop_assert_eq!(judge(&keys, &seats), is_certain);
        }

        /// What an instance knows less can only make it queue more.
        #[test]
        fn an_unknown_digest_never_leads_to_a_rejection(
            keys in vec(digest(), 1..3),
            mut seats in seats(),
            forgotten in 0..4_usize,
        ) {
            let before = judge(&keys, &seats);
            if let Some((live, _)) = seats.get_mut(forgotten)
                && !keys.iter().any(|key| *live == SaleKey::Digest(*key))
            {
                *live = SaleKey::Unknown;
                prop_assert!(before || !judge(&keys, &seats));
            }
        }

        #[test]
        fn a_comparison_counts_for_less_than_a_second_from_its_beginning(began in 0..5_000_u64, now in 0..5_000_u64) {
            let (began, now) = (Duration::from_millis(began), Duration::from_millis(now));
            let expected = now >= began && now < began + Duration::from_secs(1);
            prop_assert_eq!(has_lease(Some(began), now), expected);
            prop_assert!(!has_lease(None, now));
        }

        #[test]
        fn an_announcement_applies_to_the_state_that_its_sale_has_read(
            announced in (0..2_u128, 0..2_i64, 0..2_i64),
            known in (0..2_u128, 0..2_i64, 0..2_i64),
        ) {
            let version = |(epoch, timeline, freed_version)| SeatsVersion {
                history: History { epoch: Uuid::from_u128(epoch), timeline },
                freed_version,
            };
            prop_assert_eq!(applies(version(announced), version(known)), announced == known);
        }
    }
}
