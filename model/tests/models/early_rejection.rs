//! `hamro_model::early_rejection`.

use hamro_model::early_rejection::*;

use crate::report::{breaks, breaks_only_together, holds};

fn small() -> EarlyRejection {
    EarlyRejection::small()
}

fn without(rule: Rule) -> EarlyRejection {
    small().without(&[rule])
}

/// A database that may be restored.
fn restored(removed: &[Rule]) -> EarlyRejection {
    EarlyRejection { end: 3, releases: 0, restores: 1, ..small() }.without(removed)
}

/// A primary that a standby replaces.
fn failed_over(removed: &[Rule]) -> EarlyRejection {
    EarlyRejection { end: 3, releases: 0, failovers: 1, ..small() }.without(removed)
}

#[test]
fn early_rejection_breaks_no_guarantee() {
    holds("early rejection", small());
}

#[test]
fn early_rejection_of_several_seats_breaks_no_guarantee() {
    holds("early rejection, two seats", small().with_seats(2));
}

#[test]
fn early_rejection_breaks_no_guarantee_when_the_database_is_restored() {
    holds("early rejection, restore", restored(&[]));
}

#[test]
fn early_rejection_breaks_no_guarantee_when_a_standby_is_promoted() {
    holds("early rejection, failover", failed_over(&[]));
}

#[test]
fn an_instance_without_a_comparison_refuses_a_free_seat() {
    breaks(without(Rule::LeaseNeedsComparison), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn an_instance_whose_lease_does_not_end_refuses_a_free_seat() {
    breaks(without(Rule::LeaseEnds), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn an_instance_whose_lease_counts_from_the_response_refuses_a_free_seat() {
    breaks(without(Rule::LeaseCountsFromBeginning), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn an_instance_that_does_not_compare_versions_refuses_a_free_seat() {
    breaks(without(Rule::VersionsAreCompared), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_release_that_does_not_change_the_version_lets_a_free_seat_be_refused() {
    breaks(without(Rule::ReleasesChangeFreedVersion), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn an_instance_that_reads_the_version_after_the_seats_refuses_a_free_seat() {
    breaks(without(Rule::SeatsAreReadWithTheirVersion), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn an_instance_that_marks_accepted_bookings_refuses_a_free_seat() {
    breaks(without(Rule::OnlyCommittedSalesMark), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn an_instance_that_ignores_keys_refuses_a_retry_because_of_its_own_sale() {
    breaks(without(Rule::KeyedAttemptsNeedDigests), NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE);
}

#[test]
fn an_instance_that_trusts_unknown_digests_refuses_a_retry_because_of_its_own_sale() {
    breaks(without(Rule::UnknownDigestsMatch), NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE);
}

#[test]
fn an_instance_that_takes_a_digest_of_a_later_version_for_its_own_refuses_a_retry_because_of_its_own_sale() {
    breaks(without(Rule::DigestsNameTheirVersion), NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE);
}

#[test]
fn a_release_that_no_other_instance_finishes_leaves_a_seat_that_nobody_can_have() {
    breaks(without(Rule::OthersFinishReleases), EVERY_RELEASED_SEAT_BECOMES_FREE);
}

#[test]
fn a_seat_that_is_free_as_soon_as_it_is_released_is_refused() {
    breaks(without(Rule::FreedSeatsWait), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_worker_that_sells_released_seats_to_earlier_tickets_sells_after_a_refusal() {
    breaks(without(Rule::ReleasedSeatsNeedLaterTickets), NO_SALE_AFTER_A_REFUSAL);
}

#[test]
fn a_slow_release_whose_seat_is_free_at_its_commit_lets_a_free_seat_be_refused() {
    breaks(without(Rule::FreeFromCountsFromCommit), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_late_announcement_that_names_no_version_lets_a_free_seat_be_refused() {
    breaks(without(Rule::AnnouncementsNameTheVersion), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_retry_is_refused_after_its_sale_was_released_and_the_seat_sold_again() {
    breaks(without(Rule::ReleasedSalesCount), ONE_OUTCOME_PER_KEY);
}

#[test]
fn a_retry_is_refused_after_a_part_of_its_sale_was_released_and_sold_again() {
    let model = small().with_seats(2).without(&[Rule::ReleasedSalesCount]);
    breaks(model, NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE);
}

#[test]
fn a_restore_whose_seats_are_free_at_once_lets_a_free_seat_be_refused() {
    breaks(restored(&[Rule::RestoresRelease]), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_restore_whose_seats_are_free_at_once_lets_a_first_try_be_sold_after_its_retry_was_refused() {
    breaks(restored(&[Rule::RestoresRelease]), NO_SALE_AFTER_A_REFUSAL);
}

#[test]
fn an_instance_whose_clock_stops_while_it_is_suspended_refuses_a_free_seat() {
    breaks(without(Rule::AgesCountSuspensions), NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_first_try_from_a_clock_two_seconds_ahead_is_sold_after_its_retry_was_refused() {
    breaks(without(Rule::ClocksAreCorrected), NO_SALE_AFTER_A_REFUSAL);
}

#[test]
fn a_first_try_that_arrives_late_is_sold_after_its_retry_was_refused() {
    breaks(without(Rule::RequestsArriveInTime), NO_SALE_AFTER_A_REFUSAL);
}

#[test]
fn a_failover_that_loses_a_sale_lets_a_first_try_be_sold_after_its_retry_was_refused() {
    breaks(failed_over(&[Rule::FailoversKeepCommits]), NO_SALE_AFTER_A_REFUSAL);
}

#[test]
fn a_failover_that_loses_a_sale_lets_a_free_seat_be_refused_only_if_timelines_are_not_compared() {
    let rules = [Rule::FailoversKeepCommits, Rule::TimelinesAreCompared];
    breaks_only_together(failed_over, rules, NO_FREE_SEAT_IS_REFUSED);
}

#[test]
fn a_first_try_that_is_reissued_after_a_release_is_sold_after_its_retry_was_refused() {
    breaks(without(Rule::ReissuesAreDecided), NO_SALE_AFTER_A_REFUSAL);
}

#[test]
fn an_instance_that_compares_no_epochs_refuses_a_free_seat_after_a_restore() {
    breaks(restored(&[Rule::EpochsAreCompared]), NO_FREE_SEAT_IS_REFUSED);
}

/// The end of the lease is a second protection, for servers that do not tell their timeline.
#[test]
fn an_instance_that_keeps_its_lease_on_a_new_session_breaks_no_guarantee_because_it_compares_epochs() {
    holds("early rejection, sessions", restored(&[Rule::NewSessionsEndLeases]));
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_early_rejection_on_two_instances_breaks_no_guarantee() {
    holds("early rejection, two instances", EarlyRejection { instances: 2, end: 3, ..small() });
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_early_rejection_with_two_releases_breaks_no_guarantee() {
    holds("early rejection, two releases", EarlyRejection { releases: 2, end: 6, ..small() });
}
