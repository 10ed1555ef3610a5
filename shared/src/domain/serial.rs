//! The 42 bits that distinguish a ticket's id from others of the same millisecond.
//!
//! ```text
//!  +------+-----------------+-------------------+
//!  | 0/1  | instance        | permuted counter  |
//!  | 1 bit| 15 bits         | 26 bits           |
//!  +------+-----------------+-------------------+
//! ```
//!
//! A counter makes the ids of one process distinct. It is permuted with a secret of the process, so a client cannot
//! derive the ids issued before and after its own. The instance number, marked by a leading 1, keeps instances from
//! colliding. Until a process has its number it uses a random one, marked by a leading 0.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const COUNTER_BITS: u32 = 26;
const HALF_BITS: u32 = COUNTER_BITS / 2;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const INSTANCE_MASK: u32 = (1 << 15) - 1;
const IS_NUMBERED: u32 = 1 << 15;

/// Rounds of a Feistel network. Such a network is a permutation whatever its round function is, and the result of four
/// rounds looks random.
const ROUNDS: u8 = 4;

/// Generates the serials of one process. Clones share the counter.
#[derive(Clone, Debug)]
pub struct Serials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    instance: AtomicU32,
    counter: AtomicU32,
    secret: RandomState,
}

impl Default for Serials {
    fn default() -> Self {
        Self(Arc::new(Inner {
            instance: AtomicU32::new(rand::random::<u32>() & INSTANCE_MASK),
            counter: AtomicU32::new(rand::random()),
            secret: RandomState::new(),
        }))
    }
}

impl Serials {
    /// Sets the unique number of this instance. Only the lower 15 bits are used.
    pub fn set_instance(&self, number: u32) {
        self.0.instance.store(number & INSTANCE_MASK | IS_NUMBERED, Ordering::Relaxed);
    }

    /// Returns the next 42 bits, which differ from the previous 67 million.
    pub fn next(&self) -> u64 {
        let count = self.0.counter.fetch_add(1, Ordering::Relaxed);
        let instance = self.0.instance.load(Ordering::Relaxed);
        u64::from(instance) << COUNTER_BITS | self.permute(count.into())
    }

    fn permute(&self, count: u64) -> u64 {
        let (mut left, mut right) = (count >> HALF_BITS & HALF_MASK, count & HALF_MASK);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.0.secret.hash_one((round, right)) & HALF_MASK);
        }
        left << HALF_BITS | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_process_never_repeats_a_serial() {
        let serials = Serials::default();
        let seen: HashSet<u64> = (0..1_000_000).map(|_| serials.next()).collect();
        assert_eq!(seen.len(), 1_000_000);
        assert!(seen.iter().all(|serial| serial >> 42 == 0));
    }

    #[test]
    fn numbered_instances_share_no_serial() {
        let [one, other] = [7, 8].map(|number| {
            let serials = Serials::default();
            serials.set_instance(number);
            (0..100_000).map(|_| serials.next()).collect::<HashSet<u64>>()
        });
        assert!(one.is_disjoint(&other));
    }

    #[test]
    fn a_serial_does_not_reveal_its_neighbours() {
        let serials = Serials::default();
        let steps: HashSet<u64> = (0..1_000).map(|_| serials.next().abs_diff(serials.next())).collect();
        assert!(steps.len() > 900, "{}", steps.len());
    }
}
