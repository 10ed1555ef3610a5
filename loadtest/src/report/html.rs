//! The report as a self-contained HTML page. The template is `templates/report.html`.

use anyhow::{Context, Result};
use askama::Template;
use hamro_verification::invariant::{Broken, Invariant};

use super::Report;
use super::charts::{Chart, charts};
use super::summary::{name, proof_sentences, rules};
use super::{latency, numbers};

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    report: &'a Report,
    charts: Vec<Chart>,
}

pub fn page(report: &Report) -> Result<String> {
    let title = format!("{} at {}", report.run.scenario.name(), numbers::per_second(report.run.rate));
    Page { title, report, charts: charts(report)? }.render().context("rendering the HTML report")
}

/// What the template shows in another form. The template passes references.
impl Page<'_> {
    #[expect(clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "called by the template")]
    fn grouped(&self, number: &u64) -> String {
        numbers::grouped(*number)
    }

    #[expect(clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "called by the template")]
    fn rate(&self, rate: &f64) -> String {
        numbers::per_second(*rate)
    }

    #[expect(clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "called by the template")]
    fn shown(&self, micros: &u64) -> String {
        latency::shown(*micros)
    }

    /// Keeps the digits of a number on one line.
    #[expect(clippy::unused_self, reason = "called by the template")]
    fn sentence(&self, text: &str) -> String {
        let is_digit = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_digit());
        let (mut kept, mut letters, mut before) = (String::new(), text.chars().peekable(), None);
        while let Some(letter) = letters.next() {
            let groups = letter == ' ' && is_digit(before) && is_digit(letters.peek().copied());
            kept.push(if groups { '\u{a0}' } else { letter });
            before = Some(letter);
        }
        kept
    }

    fn target(&self) -> String {
        name(self.report.run.target)
    }

    fn follow(&self) -> String {
        name(self.report.run.follow)
    }

    fn proof_lines(&self) -> [String; 2] {
        proof_sentences(&self.report.proof)
    }

    fn rules(&self) -> Vec<(Invariant, Option<&Broken>)> {
        rules(&self.report.proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::report;

    #[test]
    fn texts_from_the_target_are_escaped() {
        let mut report = report();
        report.proof.violations.add(Invariant::OnlyWhatWasRequested, "<script>alert(1)</script>");
        report.responses.insert("<b>".into(), 1);
        let page = page(&report).unwrap();
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&#60;script&#62;"), "{page}");
    }

    #[test]
    fn the_page_begins_with_the_conclusion_and_lists_thresholds_and_machines() {
        let page = page(&report().concluded(&["accept.p99>5ms".parse().unwrap()])).unwrap();
        let page = page.replace('\u{a0}', " ");
        let (head, rest) = page.split_once("<h2>").unwrap();
        for sentence in [
            "Asked: rush at 500/s",
            "10 000 buyers",
            "Reached: 500/s accepted",
            "Limited only by the schedule",
            "Failed",
        ] {
            assert!(head.contains(sentence), "{sentence:?} is not in {head}");
        }
        for part in ["accept.p99&#62;5ms", "8.00 ms", "FAILED", "2 × Example"] {
            assert!(rest.contains(part), "{part:?} is not in {rest}");
        }
    }
}
