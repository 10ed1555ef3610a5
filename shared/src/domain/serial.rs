//! The 42 bits of a ticket's id that tell it from others of the same millisecond.
//!
//! ```text
//!  +------+-----------------+-------------------+
//!  | 0/1  | instance        | permuted counter  |
//!  | 1 bit| 15 bits         | 26 bits           |
//!  +------+-----------------+-------------------+
//! ```
//!
//! A process counts, so no two of its tickets are alike; the count is permuted by a secret of the process, so that nobody can
//! tell the ticket before or after his own. Instances with numbers of their own (1) cannot collide either. Before a process has
//! its number it uses a random one (0).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const COUNTER_BITS: u32 = 26;
const HALF_BITS: u32 = COUNTER_BITS / 2;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const INSTANCE_MASK: u32 = (1 << 15) - 1;
const IS_NUMBERED: u32 = 1 << 15;

/// Rounds of a Feistel network: whatever is mixed in, it maps no two counts to one serial, and four rounds look random.
const ROUNDS: u8 = 4;

/// What makes the ids of one process. Clones count together.
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
    /// From here on this is instance `number`, of which there is no other. Only the lower 15 bits count.
    pub fn set_instance(&self, number: u32) {
        self.0.instance.store(number & INSTANCE_MASK | IS_NUMBERED, Ordering::Relaxed);
    }

    /// The next 42 bits. They are unlike the 67 million before them.
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
    fn a_process_never_repeats_itself() {
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
    fn neighbours_do_not_tell_each_other() {
        let serials = Serials::default();
        let steps: HashSet<u64> = (0..1_000).map(|_| serials.next().abs_diff(serials.next())).collect();
        assert!(steps.len() > 900, "{}", steps.len());
    }
}
