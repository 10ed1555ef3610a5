//! The rules of the auditor, for all rows.

use std::collections::BTreeMap;
use std::time::Duration;

use hamro_shared::audit::{Kind, NO_ID, Position, Range, expected_rows};
use hamro_shared::telemetry::write_to_stderr;
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::problem::{Problem, Repair, listed};

/// How many ids of a kind are kept.
const KEPT_MAX: usize = 20;

/// How often to print the progress, on stderr.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What was found of one kind.
#[derive(Default)]
struct Found {
    count: u64,
    first: Vec<i64>,
}

/// Checks all rows. Returns how many, and what is wrong.
pub async fn check(snapshot: &mut PgConnection) -> Result<(u64, Vec<Problem>), sqlx::Error> {
    let expected = expected_rows(snapshot).await?;
    // As in the auditor's sessions: its statements look rows up, whatever the statistics of a restored database say.
    sqlx::raw_sql("SET LOCAL enable_seqscan = off; SET LOCAL jit = off").execute(&mut *snapshot).await?;
    let mut found: BTreeMap<Kind, Found> = BTreeMap::new();
    let (mut rows, mut printed_at) = (0, Instant::now());
    let mut position = Some(Position::START);
    while let Some(from) = position {
        let range = Range::after(&mut *snapshot, from).await?;
        for finding in range.findings_in_snapshot(&mut *snapshot).await? {
            let found = found.entry(finding.kind).or_default();
            found.count += 1;
            if found.first.len() < KEPT_MAX {
                found.first.push(finding.id);
            }
        }
        rows += range.rows;
        position = range.next();
        if printed_at.elapsed() >= PROGRESS_EVERY {
            printed_at = Instant::now();
            write_to_stderr(format!("checked {rows} of about {} rows\n", expected.max(rows)));
        }
    }
    sqlx::raw_sql("SET LOCAL enable_seqscan = on").execute(snapshot).await?;
    Ok((rows, found.into_iter().map(|(kind, found)| problem(kind, &found)).collect()))
}

fn problem(kind: Kind, Found { count, first }: &Found) -> Problem {
    let (rule, description) = (kind.as_str(), kind.description());
    if first.first() == Some(&NO_ID) {
        return Problem::to_decide(rule, description.to_owned(), action(kind));
    }
    let found = format!("{count} {description}: {}", listed(first, *count));
    match kind {
        Kind::TierCounters => Problem::repairable(rule, found, Repair::TierCounters),
        _ => Problem::to_decide(rule, found, action(kind)),
    }
}

/// What to do; docs/RUNBOOK.md has the statements.
fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::DoubleSoldSeat => {
            "Decide which buyer keeps each seat, and release the other's: see \"The audit finds something\" in \
             docs/RUNBOOK.md. Pause the intake meanwhile."
        }
        Kind::SeatMarkedWithoutSale => {
            "The seats cannot be sold. If no sale of them was lost, set booked_at to null, then run with --repair, which \
             counts their tiers."
        }
        Kind::SaleOfFreeSeat => {
            "The seats are offered and were sold. Set their booked_at, or release them; then run with --repair, which counts \
             their tiers."
        }
        Kind::SaleOfMissingSeat => "Restore the rows of the seats from a backup, or release them.",
        Kind::TierCounters => "Run with --repair.",
        Kind::SaleWithoutSeats | Kind::SoldSeatWithoutSale => {
            "Rows of one table are lost. Restore all tables from one backup."
        }
        Kind::SaleWithoutBooking => "The buyers cannot see these sales. Restore all tables from one backup.",
        Kind::BookingWithoutSale => {
            "The buyers were told that they have seats, and the sales are lost. Restore all tables from one backup."
        }
        Kind::MissingUniqueIndex => {
            "Nothing excludes double sales any more. Pause the intake, and create the index: see \"The audit finds \
             something\" in docs/RUNBOOK.md."
        }
    }
}
