//! Random numbers that depend only on the seed of the run and the number of the buyer.

use rand::SeedableRng;
use rand::rngs::StdRng;

pub fn buyer_rng(seed: u64, buyer: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ buyer.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
