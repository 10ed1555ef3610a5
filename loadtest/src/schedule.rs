//! The arrival schedule (an open loop). The due time of every arrival is fixed before the run and does not depend on
//! responses. A slow system therefore receives no fewer requests, and every latency counts from the due time.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// How the rate varies during a run. The requested rate is the peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Evenly spaced
    Constant,
    /// Random, like independent buyers: the same average rate, with bursts and gaps
    Poisson,
    /// From zero, linearly up to the rate
    Ramp,
    /// A tenth of the rate, with the full rate in the middle fifth of the time
    Spike,
}

/// The rate before and after the spike, as a share of the peak.
const QUIET: f64 = 0.1;
/// Start and end of the spike, as a share of the time.
const SPIKE: (f64, f64) = (0.4, 0.6);

impl Shape {
    /// The average rate, as a share of the peak.
    pub(crate) fn mean(self) -> f64 {
        match self {
            Self::Constant | Self::Poisson => 1.0,
            Self::Ramp => 0.5,
            Self::Spike => QUIET + (1.0 - QUIET) * (SPIKE.1 - SPIKE.0),
        }
    }

    /// The time, in seconds from the start, at which `position` arrivals have been due: the inverse of the integral of
    /// the rate.
    fn due(self, position: f64, rate: f64, seconds: f64) -> f64 {
        match self {
            Self::Constant | Self::Poisson => position / rate,
            Self::Ramp => (2.0 * seconds * position / rate).sqrt(),
            Self::Spike => {
                let quiet = QUIET * rate;
                let (begin, end) = (SPIKE.0 * seconds, SPIKE.1 * seconds);
                let before = quiet * begin;
                let until_end = before + rate * (end - begin);
                if position < before {
                    position / quiet
                } else if position < until_end {
                    begin + (position - before) / rate
                } else {
                    end + (position - until_end) / quiet
                }
            }
        }
    }
}

/// The due times of a run in order, relative to its start.
#[derive(Debug)]
pub struct Schedule {
    shape: Shape,
    rate: f64,
    seconds: f64,
    buyers: u64,
    given: u64,
    position: f64,
    random: StdRng,
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 buyers")]
impl Schedule {
    pub fn of_buyers(shape: Shape, rate: f64, buyers: u64, seed: u64) -> Self {
        let seconds = buyers as f64 / (rate * shape.mean());
        let random = StdRng::seed_from_u64(seed);
        Self { shape, rate, seconds, buyers, given: 0, position: 0.0, random }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the result is a number of buyers"
    )]
    pub fn of_duration(shape: Shape, rate: f64, duration: Duration, seed: u64) -> Self {
        let buyers = (rate * shape.mean() * duration.as_secs_f64()).round().max(1.0);
        Self::of_buyers(shape, rate, buyers as u64, seed)
    }

    pub fn buyers(&self) -> u64 {
        self.buyers
    }

    /// Average arrivals per second.
    pub fn rate(&self) -> f64 {
        self.rate * self.shape.mean()
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.given == self.buyers {
            return None;
        }
        self.given += 1;
        let due = self.shape.due(self.position, self.rate, self.seconds);
        self.position += match self.shape {
            // The gaps of a Poisson process. 1 - u is never zero.
            Shape::Poisson => -(1.0 - self.random.random::<f64>()).ln(),
            Shape::Constant | Shape::Ramp | Shape::Spike => 1.0,
        };
        Some(Duration::from_secs_f64(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [Shape; 4] = [Shape::Constant, Shape::Poisson, Shape::Ramp, Shape::Spike];

    fn seconds(schedule: Schedule) -> Vec<f64> {
        schedule.map(|due| due.as_secs_f64()).collect()
    }

    /// The share of arrivals in this share of the time.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn share(dues: &[f64], length: f64, from: f64, to: f64) -> f64 {
        let within = dues.iter().filter(|due| (from * length..to * length).contains(*due)).count();
        within as f64 / dues.len() as f64
    }

    #[test]
    fn every_buyer_has_a_due_time_and_they_are_in_order() {
        for shape in SHAPES {
            let dues = seconds(Schedule::of_buyers(shape, 1_000.0, 5_000, 7));
            assert_eq!(dues.len(), 5_000, "{shape:?}");
            assert!(dues.is_sorted(), "{shape:?}");
        }
    }

    #[test]
    fn a_run_lasts_for_its_duration() {
        for shape in SHAPES {
            let schedule = Schedule::of_duration(shape, 2_000.0, Duration::from_secs(10), 7);
            let last = seconds(schedule).pop().unwrap();
            assert!((9.5..10.5).contains(&last), "{shape:?}: {last}");
        }
    }

    #[test]
    fn arrivals_follow_the_shape() {
        let of = |shape| seconds(Schedule::of_duration(shape, 1_000.0, Duration::from_secs(10), 7));
        let near = |a: f64, b: f64| (a - b).abs() < 0.02;
        for shape in [Shape::Constant, Shape::Poisson] {
            assert!(near(share(&of(shape), 10.0, 0.0, 0.5), 0.5), "{shape:?}");
        }
        assert!(near(share(&of(Shape::Ramp), 10.0, 0.0, 0.5), 0.25));
        assert!(near(share(&of(Shape::Spike), 10.0, 0.4, 0.6), 0.2 / 0.28));
    }

    #[test]
    fn random_arrivals_have_the_gaps_of_a_poisson_process() {
        let dues = seconds(Schedule::of_buyers(Shape::Poisson, 100.0, 20_000, 7));
        let gaps: Vec<f64> = dues.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // A share of 1/e of exponential gaps is longer than the mean.
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let long = gaps.iter().filter(|gap| **gap > 0.01).count() as f64 / gaps.len() as f64;
        assert!((long - (-1.0_f64).exp()).abs() < 0.02, "{long}");
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        let of = |seed| seconds(Schedule::of_buyers(Shape::Poisson, 100.0, 100, seed));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
