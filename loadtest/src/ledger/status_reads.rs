//! What the reads of tickets' statuses have told, and whether it may be.

use std::collections::hash_map::Entry;

use uuid::Uuid;

use super::Ledger;
use crate::status_read::{Report, StatusRead};
use crate::violation::Rule;
use crate::wire::Outcome;

/// What a ticket is that an instance does not know.
pub const UNKNOWN: &str = "unknown";

/// How often a final status was read again when it had to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadAgain {
    /// From the instance that had reported it.
    pub same_instance: u64,
    /// From another instance, more than a second later.
    pub other_instance: u64,
}

impl Ledger {
    /// What a ticket's holder was told. Returns whether that is news.
    pub fn told(&mut self, ticket: Uuid, outcome: &Outcome, read: StatusRead) -> bool {
        self.latest = self.latest.max(read.received());
        let Some(&number) = self.tickets.get(&ticket) else { return false };
        match self.report_before(number, read) {
            Some(report) if report.instance == read.instance => self.read_again.same_instance += 1,
            Some(_) => self.read_again.other_instance += 1,
            None => {}
        }
        let is_news = self.ends_as(number, outcome);
        self.reported(number, read) || is_news
    }

    /// A ticket was told to be queued, or unknown though it had been handed out. Returns whether that may be.
    pub fn unsettled(&mut self, ticket: Uuid, status: &str, read: StatusRead) -> bool {
        self.latest = self.latest.max(read.received());
        let Some(&number) = self.tickets.get(&ticket) else { return true };
        let request = &self.requests[number];
        let before = request.end.map_or_else(|| "handed out".to_owned(), |end| self.describe(end));
        let name = self.name(number);
        let what = match self.report_before(number, read) {
            Some(report) => format!(
                "{name} was {before} by instance {} (received at {} us), and then {status} by instance {} (sent at {} us)",
                report.instance, report.received, read.instance, read.sent
            ),
            None if status == UNKNOWN => format!("{name} was {before}, and then {status}"),
            None => return true,
        };
        self.violations.add(Rule::NeverChanges, what);
        false
    }

    /// Whether a final status had been received when this read was sent: only such a read can break a rule.
    pub fn is_after_the_end(&self, ticket: Uuid, read: StatusRead) -> bool {
        let reported = self.request(ticket).and_then(|request| request.reported);
        reported.is_some_and(|report| read.sent >= report.received)
    }

    /// The report of a final status after which this read must be final as well.
    fn report_before(&self, number: usize, read: StatusRead) -> Option<Report> {
        let first = self.requests[number].reported?;
        let own = self.reported_elsewhere.get(&(number, read.instance));
        let own = own.map(|&received| Report { instance: read.instance, received });
        [own, Some(first)].into_iter().flatten().find(|report| read.must_be_final_after(*report))
    }

    /// Notes who has reported the end of the request. Returns whether this instance had not done so before. What is
    /// received is noted at once, so the first that is noted is the earliest.
    pub(super) fn reported(&mut self, number: usize, read: StatusRead) -> bool {
        let report = read.report();
        match self.requests[number].reported {
            None => {
                self.requests[number].reported = Some(report);
                true
            }
            Some(first) if first.instance == report.instance => false,
            Some(_) => match self.reported_elsewhere.entry((number, report.instance)) {
                Entry::Occupied(_) => false,
                Entry::Vacant(place) => {
                    place.insert(report.received);
                    true
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Asked;
    use crate::wire::{Answer, Wish};

    const TICKET: Uuid = Uuid::from_u128(7);

    fn read(instance: u16, sent: u64) -> StatusRead {
        StatusRead { instance, sent, took: 100 }
    }

    fn rejected(code: &str) -> Outcome {
        serde_json::from_str(&format!(r#"{{"status":"rejected","code":"{code}"}}"#)).unwrap()
    }

    /// A ticket that instance 0 reported as rejected, and later instance 1 as well: received at 1 100 and at 51 100 us.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new("run");
        let wish = Wish { buyer: 1, seats: [1].into(), key: None };
        ledger.asked(Asked { wish, due: 0, took: 500, answer: Answer::Accepted { ticket: TICKET } });
        assert!(ledger.unsettled(TICKET, "queued", read(0, 600)));
        assert!(ledger.told(TICKET, &rejected("sold-out"), read(0, 1_000)));
        assert!(ledger.told(TICKET, &rejected("sold-out"), read(1, 51_000)));
        ledger
    }

    #[test]
    fn each_instance_is_held_to_its_own_report_and_others_to_the_first_a_second_later() {
        for (instance, sent, may_be) in [
            (0, 1_099, true),
            (0, 1_100, false),
            (1, 51_099, true),
            (1, 51_100, false),
            (2, 51_100, true),
            (2, 1_001_100, true),
            (2, 1_001_101, false),
        ] {
            let mut ledger = ledger();
            assert_eq!(ledger.unsettled(TICKET, "queued", read(instance, sent)), may_be, "{instance} {sent}");
            assert_eq!(ledger.violations.of(Rule::NeverChanges).is_none(), may_be, "{instance} {sent}");
        }
    }

    #[test]
    fn only_a_read_that_was_sent_after_a_final_status_was_received_can_break_the_rule() {
        let ledger = ledger();
        assert!(!ledger.is_after_the_end(TICKET, read(0, 1_099)));
        assert!(ledger.is_after_the_end(TICKET, read(2, 1_100)));
    }

    #[test]
    fn a_final_status_is_news_once_from_each_instance_and_another_final_status_is_a_violation() {
        let mut ledger = ledger();
        assert!(!ledger.told(TICKET, &rejected("sold-out"), read(0, 60_000)));
        assert!(!ledger.told(TICKET, &rejected("sold-out"), read(1, 60_000)));
        assert!(ledger.told(TICKET, &rejected("sold-out"), read(2, 2_000_000)));
        assert_eq!(ledger.read_again, ReadAgain { same_instance: 2, other_instance: 1 });
        assert!(ledger.violations.is_empty());
        assert!(ledger.told(TICKET, &rejected("seats-taken"), read(2, 2_000)));
        assert!(ledger.violations.of(Rule::NeverChanges).is_some());
    }

    #[test]
    fn a_ticket_that_is_unknown_is_a_violation_whenever_that_is_told() {
        let mut ledger = ledger();
        assert!(!ledger.unsettled(TICKET, UNKNOWN, read(1, 600)));
        assert!(ledger.violations.of(Rule::NeverChanges).is_some());
    }

    #[test]
    fn an_outcome_in_the_response_to_the_booking_binds_its_instance() {
        let mut ledger = Ledger::new("run");
        let wish = Wish { buyer: 1, seats: [1].into(), key: None };
        let answer = Answer::Refused { status: 409, code: "seats-taken".into(), ticket: Some(TICKET) };
        ledger.asked(Asked { wish, due: 0, took: 500, answer });
        assert!(!ledger.unsettled(TICKET, "queued", read(0, 500)));
    }
}
