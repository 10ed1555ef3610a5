//! The log lines of the auditor's findings.

use hamro_shared::audit::{Finding, NO_ID};
use tracing::error;

/// How many ids a log line lists.
const LISTED_MAX: usize = 20;

/// Logs the findings: one line for each kind, with the first ids.
pub fn report(findings: &[Finding]) {
    for of_kind in findings.chunk_by(|one, next| one.kind == next.kind) {
        let (kind, count) = (of_kind[0].kind, of_kind.len());
        let listed: Vec<String> =
            of_kind.iter().take(LISTED_MAX).map(|finding| finding.id.to_string()).collect();
        let (description, ids) = (kind.description(), listed.join(", "));
        let more = count.saturating_sub(LISTED_MAX);
        let kind = kind.as_str();
        match (of_kind[0].id, more) {
            (NO_ID, _) => error!(audit.kind = kind, "audit: {description}"),
            (_, 0) => error!(audit.kind = kind, audit.count = count, "audit: {description}: {ids}"),
            (_, more) => {
                error!(audit.kind = kind, audit.count = count, "audit: {description}: {ids} and {more} more");
            }
        }
    }
}
