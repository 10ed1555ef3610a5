//! `hamro_model::status_reads`.

use hamro_model::status_reads::*;

use crate::report::{breaks, holds};

fn small() -> StatusReads {
    StatusReads::small()
}

#[test]
fn status_reads_are_consistent_on_two_instances() {
    holds("status reads", small());
}

#[test]
fn status_reads_of_a_ticket_from_a_fast_clock_are_consistent() {
    holds("status reads, fast clock", StatusReads { is_ticket_ahead: true, ..small() });
}

#[test]
fn an_outcome_announced_before_its_commit_is_reported_too_early() {
    breaks(small().without(&[Rule::AnnounceAfterCommit]), A_FINAL_STATUS_IS_COMMITTED);
}

#[test]
fn a_watermark_that_is_used_for_longer_hides_an_outcome() {
    breaks(small().without(&[Rule::ReadingsEnd]), OTHERS_FOLLOW_WITHIN_A_SECOND);
}

#[test]
fn a_watermark_whose_age_counts_from_the_response_hides_an_outcome() {
    breaks(small().without(&[Rule::AgesCountFromBeginning]), OTHERS_FOLLOW_WITHIN_A_SECOND);
}

#[test]
fn a_watermark_that_ignores_its_bound_hides_the_outcome_of_a_ticket_from_a_fast_clock() {
    let model = StatusReads { is_ticket_ahead: true, ..small() };
    breaks(model.without(&[Rule::ReadingsAreBounded]), SETTLED_SHOWS_WITHIN_A_SECOND);
}

#[test]
fn a_cache_that_evicts_early_lets_an_instance_forget_what_it_reported() {
    breaks(small().without(&[Rule::OutcomesAreKept]), AN_INSTANCE_STANDS_BY_ITS_REPORT);
}

#[test]
fn an_instance_that_does_not_cache_what_it_wrote_forgets_what_it_reported() {
    breaks(small().without(&[Rule::ReportedOutcomesAreCached]), AN_INSTANCE_STANDS_BY_ITS_REPORT);
}

#[test]
fn a_watermark_whose_clock_stops_with_its_machine_hides_an_outcome() {
    breaks(small().without(&[Rule::NoMachineIsSuspended]), OTHERS_FOLLOW_WITHIN_A_SECOND);
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_status_reads_are_consistent_although_instances_restart() {
    holds("status reads, a restart", StatusReads { restarts: 1, ..small() });
}
