//! `hamro_model::deadlines`.

use hamro_model::deadlines::*;

use crate::report::{breaks, holds};

fn without(rule: Rule) -> Deadlines {
    Deadlines::small().without(&[rule])
}

#[test]
fn every_ticket_ends_once_whatever_the_clocks_show() {
    holds("deadlines", Deadlines::small());
}

#[test]
fn a_fence_that_inserts_no_row_does_not_prevent_a_sale() {
    breaks(without(Rule::FencesInsertRows), A_REPORTED_STATUS_STANDS);
}

#[test]
fn a_fence_that_ignores_the_stored_outcome_reports_a_sale_as_expired() {
    breaks(without(Rule::FencesReportWhatIsStored), A_REPORTED_STATUS_STANDS);
}

#[test]
fn a_fence_by_an_instances_own_clock_expires_tickets_early() {
    breaks(without(Rule::FencesUseTheDatabaseClock), NOTHING_EXPIRES_EARLY);
}

#[test]
fn a_sale_that_may_replace_a_fence_changes_a_final_status() {
    breaks(without(Rule::TicketsAreUnique), A_REPORTED_STATUS_STANDS);
}

#[test]
fn a_worker_that_checks_no_deadline_sells_late() {
    breaks(without(Rule::WorkersCheckDeadlines), NOTHING_IS_SOLD_LATE);
}

#[test]
fn a_worker_whose_clock_is_not_corrected_sells_late() {
    breaks(without(Rule::ClocksAreCorrected), NOTHING_IS_SOLD_LATE);
}

#[test]
fn a_worker_whose_clock_is_not_corrected_expires_tickets_early() {
    breaks(without(Rule::ClocksAreCorrected), NOTHING_EXPIRES_EARLY);
}

#[test]
fn an_expired_ticket_that_holds_its_key_blocks_its_retry() {
    breaks(without(Rule::ExpiredTicketsHoldNoKey), AN_EXPIRED_TRY_CAN_BE_RETRIED);
}

#[test]
fn a_batch_that_is_given_up_after_a_conflict_leaves_its_message_behind() {
    breaks(without(Rule::ConflictsAreRetried), EVERY_TICKET_ENDS);
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_every_ticket_ends_once_although_workers_die() {
    holds("deadlines, two crashes", Deadlines { last_issue: 3, crashes: 2, ..Deadlines::small() });
}
