//! Statistics and output of the benchmarks.

use std::fmt::Display;

/// Prints a line of the benchmark's output.
#[expect(clippy::print_stdout, reason = "this is the benchmark's output")]
pub fn print(line: impl Display) {
    println!("{line}");
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value at this quantile (0 to 1) of the sorted values.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the result is an index"
)]
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
