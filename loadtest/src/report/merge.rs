//! Merges the reports of several load generators that put one system under load at the same time.
//!
//! Counts add, and rates are those of the joint time. Latencies are computed from the joint distributions, so they are
//! exact. Timelines are aligned by the clocks of the machines.

mod timeline;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Result, ensure};
use uuid::Uuid;

use super::{
    BookedConcert, Counts, Latencies, Latency, Loader, Rates, Report, RunFacts, Threshold, Verdict,
    VisitReport, drifts,
};
use hamro_verification::machine::LoaderCost;
use hamro_verification::processes::Cost;
use hamro_verification::proof::{Proof, joint};
use timeline::{Offset, merge_settled, merge_timelines};

/// Merges reports of the same scenario. `joint_proof` is the verification of all journals together. Loaders that booked
/// the same concerts need it, because each of them may have been sold the same seat.
pub fn merge(reports: &[Report], joint_proof: Option<Proof>, thresholds: &[Threshold]) -> Result<Report> {
    check(reports)?;
    let loaders: Vec<Loader> = reports.iter().flat_map(|report| &report.loaders).cloned().collect();
    let offsets = Offset::of_all(reports);
    let counts = sum_counts(reports);
    let mut verdict = merge_verdicts(reports);
    let is_proved = joint_proof.is_some() || !share_concerts(&loaders);
    if !is_proved {
        verdict.reasons.push(
            "the loaders booked seats of the same concerts, but their journals were not verified together (--journal)"
                .to_owned(),
        );
    }
    let proof = joint_proof.unwrap_or_else(|| add_proofs(reports, &loaders));
    if !proof.violations.is_empty() && reports.iter().all(|report| report.proof.violations.is_empty()) {
        verdict.reasons.push("rules were violated by the loaders together: see the verification".to_owned());
    }
    let basis = reports.iter().map(Report::cost_basis).sum();
    let timeline = merge_timelines(reports, &offsets);
    Ok(Report {
        conclusion: None,
        verdict,
        thresholds: Vec::new(),
        run: merge_facts(reports, &loaders),
        machine: reports[0].machine.clone(),
        counts,
        visits: add_visits(reports),
        rates: merge_rates(reports, &offsets, &counts),
        latencies: merge_latencies(reports)?,
        responses: sum_responses(reports),
        loader: sum_loader_costs(reports, basis),
        costs: merge_costs(reports, basis),
        idle: merge_idle(reports),
        settled_by_second: merge_settled(reports, &offsets),
        drifts: drifts(&timeline),
        timeline,
        baselines: reports.iter().flat_map(|report| report.baselines.clone()).collect(),
        proof,
        loaders,
    }
    .concluded(thresholds))
}

fn check(reports: &[Report]) -> Result<()> {
    ensure!(reports.len() > 1, "there is only one report to merge");
    let first = &reports[0].run;
    for report in reports {
        let run = &report.run;
        ensure!(!report.loaders.is_empty(), "the report of run {} is of an older version", run.name);
        ensure!(
            (run.scenario, run.target, run.shape) == (first.scenario, first.target, first.shape),
            "runs {} and {} have different scenarios, targets or shapes: compare them instead",
            first.name,
            run.name
        );
    }
    let mut names = HashSet::new();
    for loader in reports.iter().flat_map(|report| &report.loaders) {
        ensure!(names.insert(&loader.run), "run {} is in two of the reports", loader.run);
    }
    Ok(())
}

fn share_concerts(loaders: &[Loader]) -> bool {
    let mut known = HashSet::new();
    let distinct =
        |loader: &Loader| loader.concerts.iter().map(|concert| concert.id).collect::<BTreeSet<_>>();
    loaders.iter().flat_map(distinct).any(|concert| !known.insert(concert))
}

fn merge_facts(reports: &[Report], loaders: &[Loader]) -> RunFacts {
    let first = &reports[0].run;
    let joined = |part: &dyn Fn(&RunFacts) -> &str| {
        let parts: BTreeSet<&str> = reports.iter().map(|report| part(&report.run)).collect();
        parts.into_iter().collect::<Vec<_>>().join(", ")
    };
    let concerts = distinct_concerts(loaders);
    RunFacts {
        name: joined(&|run| &run.name),
        started: reports.iter().map(|report| report.run.started.clone()).min().unwrap_or_default(),
        url: joined(&|run| &run.url),
        journal: joined(&|run| &run.journal),
        rate: reports.iter().map(|report| report.run.rate).sum(),
        buyers: reports.iter().map(|report| report.run.buyers).sum(),
        seats: concerts.values().map(|concert| concert.free).sum(),
        concerts: concerts.len(),
        ..first.clone()
    }
}

/// All concerts. If loaders found different numbers of free seats, others had already begun.
fn distinct_concerts(loaders: &[Loader]) -> BTreeMap<Uuid, BookedConcert> {
    let mut concerts: BTreeMap<Uuid, BookedConcert> = BTreeMap::new();
    for concert in loaders.iter().flat_map(|loader| &loader.concerts) {
        let known = concerts.entry(concert.id).or_insert_with(|| concert.clone());
        known.free = known.free.max(concert.free);
    }
    concerts
}

fn sum_counts(reports: &[Report]) -> Counts {
    let mut sum = Counts::default();
    for Counts { started, accepted, refused, lost, polls, settled } in
        reports.iter().map(|report| report.counts)
    {
        sum.started += started;
        sum.accepted += accepted;
        sum.refused += refused;
        sum.lost += lost;
        sum.polls += polls;
        sum.settled += settled;
    }
    sum
}

/// The rates from the first arrival at any loader to the last.
fn merge_rates(reports: &[Report], offsets: &[Offset], counts: &Counts) -> Rates {
    let last = |time: &dyn Fn(&Rates) -> Option<f64>| {
        let shifted = reports
            .iter()
            .zip(offsets)
            .filter_map(|(report, offset)| Some(time(&report.rates)? + offset.seconds));
        shifted.reduce(f64::max)
    };
    let arrivals = last(&|rates| Some(rates.arrivals_seconds)).unwrap_or_default();
    let settled = last(&|rates| Some(rates.last_settled_seconds)).unwrap_or_default();
    Rates::of(counts, arrivals, settled, last(&|rates| rates.last_sale_seconds))
}

fn merge_latencies(reports: &[Report]) -> Result<Latencies> {
    let merged = |latency: &dyn Fn(&Latencies) -> Option<&Latency>| {
        Latency::merge(reports.iter().filter_map(|report| latency(&report.latencies)))
    };
    Ok(Latencies {
        lag: merged(&|latencies| Some(&latencies.lag))?.unwrap_or_else(|| reports[0].latencies.lag.clone()),
        accept: merged(&|latencies| latencies.accept.as_ref())?,
        settle: merged(&|latencies| latencies.settle.as_ref())?,
        poll: merged(&|latencies| latencies.poll.as_ref())?,
        visit: merged(&|latencies| latencies.visit.as_ref())?,
        queued: merged(&|latencies| latencies.queued.as_ref())?,
    })
}

fn sum_responses(reports: &[Report]) -> BTreeMap<Box<str>, u64> {
    let mut sum = BTreeMap::new();
    for (response, count) in reports.iter().flat_map(|report| &report.responses) {
        *sum.entry(response.clone()).or_default() += count;
    }
    sum
}

fn sum_loader_costs(reports: &[Report], basis: u64) -> LoaderCost {
    let percent = reports.iter().map(|report| report.loader.cpu.cpu_percent).sum();
    let micros: f64 = reports.iter().map(|report| total_micros(&report.loader.cpu, report)).sum();
    LoaderCost {
        cpu: Cost { cpu_percent: percent, cpu_micros_a_request: micros_of_each(micros, basis) },
        resident_mb: reports.iter().map(|report| report.loader.resident_mb).sum(),
    }
}

/// Processes of the same name are the same process, watched by several loaders on its machine.
fn merge_costs(reports: &[Report], basis: u64) -> BTreeMap<String, Cost> {
    let mut merged: BTreeMap<String, Cost> = BTreeMap::new();
    for report in reports {
        for (name, cost) in &report.costs {
            let micros = micros_of_each(total_micros(cost, report), basis);
            let cost = Cost { cpu_percent: cost.cpu_percent, cpu_micros_a_request: micros };
            let known = merged.entry(name.clone()).or_insert_with(|| cost.clone());
            if cost.cpu_percent > known.cpu_percent {
                *known = cost;
            }
        }
    }
    merged
}

#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
fn total_micros(cost: &Cost, report: &Report) -> f64 {
    cost.cpu_micros_a_request * report.cost_basis() as f64
}

#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
fn micros_of_each(micros: f64, basis: u64) -> f64 {
    micros / basis.max(1) as f64
}

/// What the idle processes took, as the load generator that watched them measured it.
fn merge_idle(reports: &[Report]) -> BTreeMap<String, f64> {
    let mut merged: BTreeMap<String, f64> = BTreeMap::new();
    for (name, percent) in reports.iter().flat_map(|report| &report.idle) {
        let known = merged.entry(name.clone()).or_default();
        *known = known.max(*percent);
    }
    merged
}

fn add_visits(reports: &[Report]) -> Option<VisitReport> {
    let mut all = reports.iter().filter_map(|report| report.visits.as_ref());
    let mut sum = all.next()?.clone();
    all.for_each(|visits| sum.add(visits));
    Some(sum)
}

/// The sum of the proofs of all loaders.
fn add_proofs(reports: &[Report], loaders: &[Loader]) -> Proof {
    let mut sum = joint::sum(reports.iter().map(|report| &report.proof));
    sum.seats = distinct_concerts(loaders).values().map(|concert| concert.seats as u64).sum();
    sum
}

fn merge_verdicts(reports: &[Report]) -> Verdict {
    let mut merged = Verdict::default();
    for Report { verdict, run, .. } in reports {
        let prefixed = verdict.reasons.iter().map(|reason| format!("run {}: {reason}", run.name));
        merged.reasons.extend(prefixed);
        merged.was_interrupted |= verdict.was_interrupted;
        merged.target_stopped |= verdict.target_stopped;
    }
    merged
}

#[cfg(test)]
mod tests;
