//! What the checks have found, as text for a terminal and as JSON for scripts.

use std::fmt::{self, Display, Write};

use serde::Serialize;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// What was checked, such as `schema`.
    pub check: &'static str,
    /// Which one of several, such as the address of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What is the case, and what follows from it.
    pub finding: String,
    /// What to do. Empty if all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// From good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Nothing is known.
    Skipped,
    /// The programs run, but not as well or as safely as they could.
    Warning,
    /// The programs do not run, or may lose something.
    Error,
}

impl Finding {
    pub fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, finding, "")
    }

    pub fn skipped(check: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, check, reason, remedy)
    }

    pub fn warning(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, check, finding, remedy)
    }

    pub fn error(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Verdict::Error, check, finding, remedy)
    }

    fn new(
        verdict: Verdict,
        check: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict, check, of: None, finding: finding.into(), remedy: remedy.into() }
    }

    /// The same of one of several.
    pub fn of(self, of: impl Into<String>) -> Self {
        Self { of: Some(of.into()), ..self }
    }
}

/// The problems, or if there are none, that all is well.
pub fn problems_or_ok(problems: Vec<Finding>, ok: impl FnOnce() -> Finding) -> Vec<Finding> {
    if problems.is_empty() { vec![ok()] } else { problems }
}

/// All findings.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The worst of all.
    pub verdict: Verdict,
    pub checks: Vec<Finding>,
}

impl Report {
    pub fn new(checks: Vec<Finding>) -> Self {
        let verdict = checks.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        Self { verdict, checks }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.of.as_ref().map(|of| format!(" {of}")).unwrap_or_default();
        write!(f, "{:8} {}{of}: {}", self.verdict, self.check, self.finding)?;
        if !self.remedy.is_empty() {
            write!(f, "\n         → {}", self.remedy)?;
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.checks {
            writeln!(f, "{finding}")?;
        }
        let mut counts = String::new();
        for verdict in [Verdict::Error, Verdict::Warning, Verdict::Skipped, Verdict::Ok] {
            let count = self.checks.iter().filter(|finding| finding.verdict == verdict).count();
            if count > 0 {
                let separator = if counts.is_empty() { "" } else { ", " };
                write!(counts, "{separator}{count} {verdict}")?;
            }
        }
        f.write_str(&counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_lists_every_check_in_one_line_and_its_remedy_in_the_next() {
        let report = Report::new(vec![
            Finding::ok("clock", "it agrees"),
            Finding::warning("broker", "it is away", "start it").of("10.0.0.1:5672"),
        ]);
        assert_eq!(
            report.to_string(),
            "ok       clock: it agrees\n\
             warning  broker 10.0.0.1:5672: it is away\n         → start it\n\
             1 warning, 1 ok"
        );
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({"verdict": "warning", "checks": [
                {"verdict": "ok", "check": "clock", "finding": "it agrees"},
                {"verdict": "warning", "check": "broker", "of": "10.0.0.1:5672", "finding": "it is away", "remedy": "start it"},
            ]})
        );
    }
}
