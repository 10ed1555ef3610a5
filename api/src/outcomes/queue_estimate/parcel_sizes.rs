//! How many bookings the messages in the queue contain. The broker counts messages only.
//!
//! The queue is in order, so its messages are those that were published last. Each instance knows how many bookings are
//! in the parcels that it has published, and learns from heartbeats how many the others have published since it started.

use std::collections::VecDeque;

/// More runs than this are not kept. Messages before them count as average.
const RUNS_MAX: usize = 10_000;
/// The weight of one announcement in the moving average.
const WEIGHT: f64 = 0.1;

#[derive(Debug, Default)]
pub struct ParcelSizes {
    /// The parcels that were published last, the newest at the end.
    runs: VecDeque<Run>,
    /// Bookings per message of settled batches: a moving average.
    settled: Option<f64>,
}

/// Consecutive messages.
#[derive(Clone, Copy, Debug)]
struct Run {
    messages: u64,
    bookings: u64,
}

impl Run {
    fn has_size_of(self, other: Self) -> bool {
        self.bookings * other.messages == other.bookings * self.messages
    }
}

impl ParcelSizes {
    /// An instance has published these bookings in this many messages.
    pub fn on_published(&mut self, messages: u64, bookings: u64) {
        let run = Run { messages, bookings };
        if messages == 0 {
            return;
        }
        match self.runs.back_mut() {
            Some(last) if last.has_size_of(run) => {
                last.messages += messages;
                last.bookings += bookings;
            }
            _ => self.runs.push_back(run),
        }
        if self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
    }

    /// A worker has settled these bookings of this many messages.
    pub fn on_settled(&mut self, messages: u32, bookings: u32) {
        if messages > 0 {
            let size = f64::from(bookings) / f64::from(messages);
            let settled = self.settled.get_or_insert(size);
            *settled += WEIGHT * (size - *settled);
        }
    }

    /// How many bookings are in the `messages` messages that were published last. Those that this instance knows nothing
    /// about count like the messages that were settled lately, or else as `average`.
    pub fn bookings_in_last(&self, messages: u64, average: Option<f64>) -> u64 {
        let (mut left, mut bookings) = (messages, 0);
        for run in self.runs.iter().rev() {
            if run.messages >= left {
                return bookings + scale(left, size(*run));
            }
            left -= run.messages;
            bookings += run.bookings;
        }
        let oldest = self.runs.front().map(|run| size(*run));
        bookings + scale(left, self.settled.or(average).or(oldest).unwrap_or(1.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
fn size(run: Run) -> f64 {
    run.bookings as f64 / run.messages as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; neither factor is negative"
)]
fn scale(count: u64, factor: f64) -> u64 {
    (count as f64 * factor).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_in_the_queue_are_those_published_last() {
        let mut sizes = ParcelSizes::default();
        assert_eq!(sizes.bookings_in_last(7, None), 7, "nothing is known");
        sizes.on_published(10, 640);
        sizes.on_published(5, 5);
        sizes.on_published(1, 1);
        assert_eq!([0, 6, 7, 16].map(|messages| sizes.bookings_in_last(messages, None)), [0, 6, 70, 646]);
    }

    #[test]
    fn unknown_messages_count_like_those_settled_lately_or_else_as_average() {
        let mut sizes = ParcelSizes::default();
        sizes.on_published(10, 10);
        assert_eq!(sizes.bookings_in_last(11, Some(20.0)), 30);
        sizes.on_settled(4, 256);
        assert_eq!(sizes.bookings_in_last(11, Some(20.0)), 74);
    }
}
