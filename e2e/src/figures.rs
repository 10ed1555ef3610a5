//! What benchmarks say of what they have measured.

use std::fmt::Display;

/// A line of a benchmark's output.
#[expect(clippy::print_stdout, reason = "this is the benchmark's output")]
pub fn say(line: impl Display) {
    println!("{line}");
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The value below which this share of the sorted figures lies.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index"
)]
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
