//! Records status reads, and checks whether each status is allowed.

use std::collections::hash_map::Entry;

use uuid::Uuid;

use super::RequestLog;
use crate::contract::Outcome;
use crate::invariant::Invariant;
use crate::status_read::{Report, StatusRead};

/// The status of a ticket that an instance does not know.
pub const UNKNOWN: &str = "unknown";

/// The number of reads that had to return a final status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadAgain {
    /// From the instance that had reported the status.
    pub same_instance: u64,
    /// From another instance, more than a second later.
    pub other_instance: u64,
}

impl RequestLog {
    /// Records a final status. Returns whether it is new from this instance or different.
    pub fn record_status(&mut self, ticket: Uuid, outcome: &Outcome, read: StatusRead) -> bool {
        self.latest = self.latest.max(read.received());
        let Some(&number) = self.tickets.get(&ticket) else { return false };
        match self.report_before(number, read) {
            Some(report) if report.instance == read.instance => self.read_again.same_instance += 1,
            Some(_) => self.read_again.other_instance += 1,
            None => {}
        }
        let is_first_report = self.record_report(number, read);
        self.record_outcome(number, outcome) || is_first_report
    }

    /// Records that a ticket was reported as queued or unknown. Returns whether that is allowed.
    pub fn record_not_final(&mut self, ticket: Uuid, status: &str, read: StatusRead) -> bool {
        self.latest = self.latest.max(read.received());
        let Some(&number) = self.tickets.get(&ticket) else { return true };
        let request = &self.requests[number];
        let before = request.outcome.map_or_else(|| "issued".to_owned(), |outcome| self.describe(outcome));
        let name = self.name(number);
        let what = match self.report_before(number, read) {
            Some(report) => format!(
                "{name} was {before} by instance {} (received at {} us), and then {status} by instance {} (sent at {} us)",
                report.instance, report.received, read.instance, read.sent
            ),
            None if status == UNKNOWN => format!("{name} was {before}, and then {status}"),
            None => return true,
        };
        self.violations.add(Invariant::FinalStatusNeverChanges, what);
        false
    }

    /// Whether a final status had been received before this read was sent. Only such a read can violate a rule.
    pub fn is_after_final(&self, ticket: Uuid, read: StatusRead) -> bool {
        let reported = self.request(ticket).and_then(|request| request.reported);
        reported.is_some_and(|report| read.sent >= report.received)
    }

    /// An earlier report of a final status that requires this read to be final.
    fn report_before(&self, number: usize, read: StatusRead) -> Option<Report> {
        let first = self.requests[number].reported?;
        let own = self.reported_elsewhere.get(&(number, read.instance));
        let own = own.map(|&received| Report { instance: read.instance, received });
        [own, Some(first)].into_iter().flatten().find(|report| read.must_be_final_after(*report))
    }

    /// Records that an instance has reported the outcome of the request. Returns whether it is the first report of this
    /// instance. Responses are recorded at once, so the first one recorded is the earliest.
    pub(super) fn record_report(&mut self, number: usize, read: StatusRead) -> bool {
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
    use crate::contract::{BookingIntent, BookingResponse, Target};
    use crate::journal::RequestRecord;

    const TICKET: Uuid = Uuid::from_u128(7);

    fn read(instance: u16, sent: u64) -> StatusRead {
        StatusRead { instance, sent, took: 100 }
    }

    fn rejected(code: &str) -> Outcome {
        serde_json::from_str(&format!(r#"{{"status":"rejected","code":"{code}"}}"#)).unwrap()
    }

    /// A ticket that instance 0 and later instance 1 reported as rejected, received at 1 100 and at 51 100 us.
    fn request_log() -> RequestLog {
        let mut request_log = RequestLog::new("run");
        let intent = BookingIntent { buyer: 1, seats: [1].into(), key: None };
        request_log.record_request(RequestRecord {
            intent,
            instance: 0,
            target: Target::Async,
            due: 0,
            took: 500,
            response: BookingResponse::Accepted { ticket: TICKET },
        });
        assert!(request_log.record_not_final(TICKET, "queued", read(0, 600)));
        assert!(request_log.record_status(TICKET, &rejected("sold-out"), read(0, 1_000)));
        assert!(request_log.record_status(TICKET, &rejected("sold-out"), read(1, 51_000)));
        request_log
    }

    #[test]
    fn a_reported_status_binds_its_instance_at_once_and_others_after_a_second() {
        for (instance, sent, is_allowed) in [
            (0, 1_099, true),
            (0, 1_100, false),
            (1, 51_099, true),
            (1, 51_100, false),
            (2, 51_100, true),
            (2, 1_001_100, true),
            (2, 1_001_101, false),
        ] {
            let mut request_log = request_log();
            assert_eq!(
                request_log.record_not_final(TICKET, "queued", read(instance, sent)),
                is_allowed,
                "{instance} {sent}"
            );
            assert_eq!(
                request_log.violations.of(Invariant::FinalStatusNeverChanges).is_none(),
                is_allowed,
                "{instance} {sent}"
            );
        }
    }

    #[test]
    fn only_a_read_sent_after_a_final_status_can_violate_the_rule() {
        let request_log = request_log();
        assert!(!request_log.is_after_final(TICKET, read(0, 1_099)));
        assert!(request_log.is_after_final(TICKET, read(2, 1_100)));
    }

    #[test]
    fn a_final_status_is_new_once_per_instance_and_a_different_one_is_a_violation() {
        let mut request_log = request_log();
        assert!(!request_log.record_status(TICKET, &rejected("sold-out"), read(0, 60_000)));
        assert!(!request_log.record_status(TICKET, &rejected("sold-out"), read(1, 60_000)));
        assert!(request_log.record_status(TICKET, &rejected("sold-out"), read(2, 2_000_000)));
        assert_eq!(request_log.read_again, ReadAgain { same_instance: 2, other_instance: 1 });
        assert!(request_log.violations.is_empty());
        assert!(request_log.record_status(TICKET, &rejected("seats-taken"), read(2, 2_000)));
        assert!(request_log.violations.of(Invariant::FinalStatusNeverChanges).is_some());
    }

    #[test]
    fn an_unknown_ticket_is_always_a_violation() {
        let mut request_log = request_log();
        assert!(!request_log.record_not_final(TICKET, UNKNOWN, read(1, 600)));
        assert!(request_log.violations.of(Invariant::FinalStatusNeverChanges).is_some());
    }

    #[test]
    fn an_outcome_in_the_booking_response_binds_its_instance() {
        let mut request_log = RequestLog::new("run");
        let intent = BookingIntent { buyer: 1, seats: [1].into(), key: None };
        let response = BookingResponse::Refused {
            status: 409,
            code: "seats-taken".into(),
            ticket: Some(TICKET),
            taken: [1].into(),
        };
        let target = Target::Sync;
        request_log.record_request(RequestRecord {
            intent,
            instance: 0,
            target,
            due: 0,
            took: 500,
            response,
        });
        assert!(!request_log.record_not_final(TICKET, "queued", read(0, 500)));
    }
}
