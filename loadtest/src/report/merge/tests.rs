#![expect(clippy::float_cmp, reason = "the values are exact")]

use super::*;
use crate::report::example::report;
use hamro_verification::invariant::Invariant;

/// Two loaders with a concert each. The second began 2 s later and is a little slower.
fn two() -> [Report; 2] {
    let (first, mut second) = (report(), report());
    second.run.name = "m1".to_owned();
    let loader = &mut second.loaders[0];
    loader.run = "m1".to_owned();
    loader.first_due += 2_000;
    loader.concerts[0].id = Uuid::from_u128(2);
    loader.machine.processor = "Another".to_owned();
    second.latencies.accept.as_mut().unwrap().p99 = 1;
    [first, second]
}

fn shared() -> [Report; 2] {
    let mut both = two();
    both[1].loaders[0].concerts[0].id = both[0].loaders[0].concerts[0].id;
    both
}

#[test]
fn counts_and_proofs_add_and_rates_are_those_of_the_joint_time() {
    let merged = merge(&two(), None, &[]).unwrap();
    assert_eq!(merged.counts.accepted, 20_000);
    assert_eq!(merged.responses["accepted"], 20_000);
    // 20 000 within 22 s, the last of which was settled after 22.1 s.
    assert_eq!(merged.rates.arrivals_seconds, 22.0);
    assert!((merged.rates.accepted - 909.1).abs() < 0.1, "{:?}", merged.rates);
    assert!((merged.rates.settled - 905.0).abs() < 0.1, "{:?}", merged.rates);
    assert_eq!((merged.proof.tickets, merged.proof.seats, merged.proof.seats_sold), (20_000, 600, 500));
    assert_eq!((merged.run.rate, merged.run.buyers, merged.run.seats), (1_000.0, 20_000, 600));
    assert_eq!(merged.run.concerts, 2);
    let machines: Vec<&str> = merged.loaders.iter().map(|loader| loader.machine.processor.as_str()).collect();
    assert_eq!(machines, ["Example", "Another"]);
    assert!(merged.verdict.has_passed(), "{:?}", merged.verdict);
}

#[test]
fn loaders_that_began_together_reach_the_sum_of_their_rates() {
    let mut both = two();
    both[1].loaders[0].first_due = both[0].loaders[0].first_due;
    let merged = merge(&both, None, &[]).unwrap();
    assert_eq!((merged.rates.started, merged.rates.accepted), (1_000.0, 1_000.0));
    assert_eq!(merged.loader.cpu.cpu_percent, 10.0);
    // Twice as many requests for the same CPU time of the same process.
    assert_eq!(merged.costs["api"].cpu_micros_a_request, 400.0);
    assert_eq!(merged.costs["api"].cpu_percent, 40.0);
}

#[test]
fn latencies_come_from_the_distributions_and_not_from_the_percentiles() {
    let merged = merge(&two(), None, &[]).unwrap();
    let accept = merged.latencies.accept.unwrap();
    assert_eq!(accept.count, 20_000);
    assert!((8_000..8_100).contains(&accept.p99), "{}", accept.p99);
}

#[test]
fn timelines_are_aligned_by_the_clock() {
    let merged = merge(&two(), None, &[]).unwrap();
    let accepted: Vec<u64> = merged.timeline.iter().map(|second| second.accepted).collect();
    assert_eq!(accepted.len(), 22);
    assert_eq!((accepted[1], accepted[2], accepted[19], accepted[20]), (500, 1_000, 1_000, 500));
    assert_eq!(merged.settled_by_second[..3], [500, 500, 1_000]);
    let second = &merged.timeline[5];
    assert_eq!((second.queue, second.in_flight, second.memory["api"]), (Some(2), 8, 70 * 1024));
}

#[test]
fn violations_of_every_loader_fail_the_merged_report() {
    let mut both = two();
    both[1].proof.violations.add(Invariant::NoSeatSoldTwice, "seat 7");
    both[1].verdict.reasons.push("rules were violated: see the verification".to_owned());
    let merged = merge(&both, None, &[]).unwrap();
    assert_eq!(merged.violations(), 1);
    assert_eq!(merged.verdict.reasons, ["run m1: rules were violated: see the verification"]);
}

#[test]
fn loaders_of_the_same_concerts_fail_unless_their_journals_are_verified_together() {
    let merged = merge(&shared(), None, &[]).unwrap();
    assert!(merged.verdict.reasons[0].contains("not verified together"), "{:?}", merged.verdict);
    assert_eq!((merged.run.seats, merged.run.concerts), (300, 1));
    let mut joint = report().proof;
    assert!(merge(&shared(), Some(joint.clone()), &[]).unwrap().verdict.has_passed());
    joint.violations.add(Invariant::NoSeatSoldTwice, "seat 7");
    let merged = merge(&shared(), Some(joint), &[]).unwrap();
    assert!(merged.verdict.reasons[0].contains("by the loaders together"), "{:?}", merged.verdict);
}

#[test]
fn thresholds_are_checked_on_the_merged_report() {
    let thresholds = ["accepted<900/s", "accept.p99<1s"].map(|text| text.parse().unwrap());
    let merged = merge(&two(), None, &thresholds).unwrap();
    assert_eq!(merged.thresholds.iter().map(|result| result.has_failed).collect::<Vec<_>>(), [false, true]);
    assert!(merged.verdict.reasons[0].contains("accept.p99<1s"), "{:?}", merged.verdict);
}

#[test]
fn reports_that_do_not_belong_together_are_rejected() {
    let error = |reports: &[Report]| merge(reports, None, &[]).unwrap_err().to_string();
    assert!(error(&[report()]).contains("only one report"));
    assert!(error(&[report(), report()]).contains("run k3f9 is in two of the reports"));
    let mut both = two();
    both[1].run.scenario = crate::scenario::Scenario::Spread;
    assert!(error(&both).contains("different scenarios"));
    both[1].loaders.clear();
    assert!(error(&both).contains("older version"));
}
