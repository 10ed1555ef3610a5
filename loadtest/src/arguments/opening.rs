//! The arguments of the scenario `opening`.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::run::share;
use crate::scenario::Scenario;

/// How long visitors keep the page open.
const STAY: Duration = Duration::from_secs(30);
/// The share of visitors who book.
const BOOK_SHARE: f64 = 0.1;

/// As given on the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of the scenario opening")]
pub struct OpeningOptions {
    /// Share of visitors who have seen the page before the sale: their browsers send `If-None-Match`, and do not request
    /// what they may keep [default: 0]
    #[arg(long, value_parser = share)]
    warm_share: Option<f64>,
    /// Share of visitors who book, and choose again after a rejection [default: 0.1]
    #[arg(long, value_parser = share)]
    book_share: Option<f64>,
    /// Every visitor opens the event stream of the seat map
    ///
    /// A stream that the target refuses is counted, and is no failure.
    #[arg(long)]
    streams: bool,
    /// How long a visitor stays and watches the event stream [default: 30s]
    #[arg(long, requires = "streams", value_parser = humantime::parse_duration)]
    stay: Option<Duration>,
}

/// What visitors of the page do.
#[derive(Clone, Copy, Debug)]
pub struct OpeningArguments {
    pub warm_share: f64,
    pub book_share: f64,
    pub streams: bool,
    pub stay: Duration,
}

impl OpeningOptions {
    /// `None` if the scenario is another one, which has none of these options.
    pub fn of(&self, scenario: Scenario) -> Result<Option<OpeningArguments>> {
        let Self { warm_share, book_share, streams, stay } = *self;
        if scenario == Scenario::Opening {
            return Ok(Some(OpeningArguments {
                warm_share: warm_share.unwrap_or_default(),
                book_share: book_share.unwrap_or(BOOK_SHARE),
                streams,
                stay: stay.unwrap_or(STAY),
            }));
        }
        for (option, is_given) in [
            ("--warm-share", warm_share.is_some()),
            ("--book-share", book_share.is_some()),
            ("--streams", streams),
        ] {
            ensure!(!is_given, "{option} is an option of the scenario opening, not of {}", scenario.name());
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn options(scenario: &str, more: &[&str]) -> Result<Option<OpeningArguments>> {
        let line = [&["hamro-loadtest", "run", scenario], more].concat();
        let Command::Run(arguments) = Arguments::try_parse_from(line)?.command else { unreachable!() };
        arguments.opening.of(arguments.scenario)
    }

    #[test]
    fn the_options_of_the_opening_have_defaults() {
        let defaults = options("opening", &[]).unwrap().unwrap();
        assert!(!defaults.streams);
        assert_eq!((defaults.warm_share, defaults.book_share), (0.0, 0.1));
        let given = ["--warm-share", "0.5", "--book-share", "0", "--streams", "--stay", "9s"];
        let given = options("opening", &given).unwrap().unwrap();
        assert!(given.streams);
        assert_eq!((given.warm_share, given.book_share), (0.5, 0.0));
        assert_eq!(given.stay, Duration::from_secs(9));
    }

    #[test]
    fn options_of_the_opening_are_rejected_elsewhere_and_so_are_invalid_ones() {
        assert!(options("rush", &[]).unwrap().is_none());
        for (scenario, more, expected) in [
            (
                "rush",
                &["--warm-share", "0.5"][..],
                "--warm-share is an option of the scenario opening, not of rush",
            ),
            ("spread", &["--streams"], "--streams is an option of the scenario opening, not of spread"),
            ("opening", &["--warm-share", "2"], "must be a share from 0 to 1"),
            ("opening", &["--stay", "9s"], "--streams"),
            ("opening", &["--visits-per-second", "many"], "must be a number of arrivals per second"),
        ] {
            let error = options(scenario, more).unwrap_err().to_string();
            assert!(error.contains(expected), "{more:?}: {error}");
        }
    }
}
