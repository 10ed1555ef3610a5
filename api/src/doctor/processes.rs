//! What the processes of the installation say of themselves in their heartbeats, and whether they agree.

use std::collections::BTreeSet;
use std::time::Duration;

use hamro_shared::queue::{Heartbeat, InstanceReport, ProcessState, WorkerState};
use humantime::format_duration;

use super::report::{Finding, problems_or_ok};
use crate::config::Config;

const INSTANCES: &str = "api instances";
const WORKERS: &str = "workers";
const VERSIONS: &str = "versions";
const KEYS: &str = "ticket keys of the instances";
const DEADLINE: &str = "BOOKING_DEADLINE of the instances";
const CLOCKS: &str = "clocks of the instances";

/// As the alert of the programs.
const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(2);

/// The settings of this machine that all instances must share.
pub struct Shared {
    pub ticket_keys: Vec<String>,
    pub booking_deadline: Duration,
}

impl Shared {
    pub fn of(config: &Config) -> Self {
        let policy = &config.policy;
        Self { ticket_keys: policy.ticket_keys.fingerprints(), booking_deadline: policy.booking_deadline }
    }
}

/// `shared` is unknown if a setting of this machine is invalid.
pub fn check(heard: &[Heartbeat], shared: Option<&Shared>) -> Vec<Finding> {
    let mut findings = vec![instances(heard), workers(heard), versions(heard)];
    let reports: Vec<_> = heard.iter().filter_map(report).collect();
    if let Some(shared) = shared
        && !reports.is_empty()
    {
        findings.extend(keys(&reports, &shared.ticket_keys));
        findings.extend(deadlines(&reports, shared.booking_deadline));
        findings.extend(clocks(&reports));
    }
    findings
}

/// The number of sessions that the processes open at most in the database.
pub fn database_sessions(heard: &[Heartbeat]) -> u64 {
    /// Of an api instance besides its pool: one for early rejection, one for the canary and one while it starts.
    const OF_INSTANCE: u64 = 3;
    const OF_WORKER: u64 = 5;
    let sessions = heard.iter().map(|heartbeat| match &heartbeat.state {
        ProcessState::Api(_) => {
            OF_INSTANCE + report(heartbeat).map_or(10, |(_, report)| u64::from(report.database_connections))
        }
        ProcessState::Worker(_) => OF_WORKER,
    });
    sessions.sum()
}

/// The name of a process in findings: the beginning of its id.
fn name(heartbeat: &Heartbeat) -> String {
    heartbeat.process.simple().to_string()[..8].to_owned()
}

fn report(heartbeat: &Heartbeat) -> Option<(String, &InstanceReport)> {
    let ProcessState::Api(published) = &heartbeat.state else { return None };
    Some((name(heartbeat), published.instance.as_ref()?))
}

fn instances(heard: &[Heartbeat]) -> Finding {
    let (mut all, mut silent) = (0, 0);
    for heartbeat in heard {
        if let ProcessState::Api(published) = &heartbeat.state {
            all += 1;
            silent += usize::from(published.instance.is_none());
        }
    }
    match (all, silent) {
        (0, _) => Finding::warning(
            INSTANCES,
            "none is heard: no api instance runs, or all have another QUEUE_PREFIX or virtual host, or no connection",
            "start one; if one runs, compare its AMQP_URL and QUEUE_PREFIX with those of this machine",
        ),
        (_, 0) => Finding::ok(INSTANCES, format!("{all} heard")),
        _ => Finding::skipped(
            INSTANCES,
            format!(
                "{all} heard; {silent} of them have an earlier version, and do not report their settings"
            ),
            "upgrade them, and run this again",
        ),
    }
}

fn workers(heard: &[Heartbeat]) -> Finding {
    let workers: Vec<(String, &WorkerState)> = heard
        .iter()
        .filter_map(|heartbeat| match &heartbeat.state {
            ProcessState::Worker(worker) => Some((name(heartbeat), worker)),
            ProcessState::Api(_) => None,
        })
        .collect();
    if workers.is_empty() {
        let remedy = "start hamro-worker; if one runs, compare its AMQP_URL and QUEUE_PREFIX with those of this machine";
        return if heard.is_empty() {
            Finding::warning(WORKERS, "none is heard", remedy)
        } else {
            let finding = "none is heard: bookings are accepted and wait, and expire at BOOKING_DEADLINE";
            Finding::error(WORKERS, finding, remedy)
        };
    }
    let not_ready: Vec<_> = workers
        .iter()
        .filter(|(_, worker)| !worker.not_ready.is_empty())
        .map(|(name, worker)| format!("{name} is not ready: {}", worker.not_ready.join("; ")))
        .collect();
    if !not_ready.is_empty() {
        let remedy = "docs/RUNBOOK.md says what to do about each, under \"Bookings are not settled\"";
        return Finding::error(WORKERS, not_ready.join(". "), remedy);
    }
    Finding::ok(WORKERS, format!("{} heard, all ready", workers.len()))
}

fn versions(heard: &[Heartbeat]) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let versions: BTreeSet<&str> = heard.iter().map(|it| it.version.as_str()).chain([own]).collect();
    if versions.len() == 1 {
        return Finding::ok(VERSIONS, format!("{own} everywhere"));
    }
    let list = versions.into_iter().collect::<Vec<_>>().join(", ");
    Finding::warning(
        VERSIONS,
        format!("several run: {list}"),
        "finish the upgrade or the rollback, workers first; use the newest hamro-api for this command",
    )
}

fn keys(reports: &[(String, &InstanceReport)], own: &[String]) -> Vec<Finding> {
    let step = "a change of TICKET_KEYS is in progress or was made on some instances only: restart all instances with the \
                same value; `hamro-api keys show` compares them";
    let all_signing: BTreeSet<&String> =
        reports.iter().filter_map(|(_, it)| it.ticket_keys.first()).collect();
    let problems = reports.iter().filter_map(|(name, report)| {
        if let Some(unknown) = all_signing.iter().find(|key| !report.ticket_keys.contains(key)) {
            let finding =
                format!("{name} answers 404 for tickets of key {unknown}, with which another signs");
            return Some(Finding::error(KEYS, finding, step));
        }
        (report.ticket_keys != own).then(|| {
            let finding = format!("{name} has other keys, or another order, than this machine");
            Finding::warning(KEYS, finding, step)
        })
    });
    problems_or_ok(problems.collect(), || Finding::ok(KEYS, "all instances and this machine have the same"))
}

fn deadlines(reports: &[(String, &InstanceReport)], own: Duration) -> Vec<Finding> {
    let problems = reports.iter().filter_map(|(name, report)| {
        let deadline = Duration::from_millis(report.booking_deadline_millis);
        (deadline != own).then(|| {
            let finding = format!(
                "{name} has {}, and this machine {}",
                format_duration(deadline),
                format_duration(own)
            );
            let meaning = "a ticket may expire by the shorter one";
            Finding::warning(
                DEADLINE,
                format!("{finding}: {meaning}"),
                "set the same on all, and restart them",
            )
        })
    });
    problems_or_ok(problems.collect(), || {
        Finding::ok(DEADLINE, format!("{} everywhere", format_duration(own)))
    })
}

fn clocks(reports: &[(String, &InstanceReport)]) -> Vec<Finding> {
    let problems = reports.iter().filter_map(|(name, report)| {
        let offset = report.clock_offset_millis?;
        let difference = Duration::from_millis(offset.unsigned_abs());
        let direction = if offset > 0 { "behind" } else { "ahead of" };
        (difference > CLOCK_OFFSET_MAX).then(|| {
            let finding = format!("that of {name} is {difference:.1?} {direction} the database clock");
            Finding::warning(
                CLOCKS,
                finding,
                "synchronise the clock of its machine (chrony, systemd-timesyncd)",
            )
        })
    });
    problems_or_ok(problems.collect(), || Finding::ok(CLOCKS, "they agree with the database clock"))
}

#[cfg(test)]
mod tests {
    use hamro_shared::queue::Published;
    use uuid::Uuid;

    use super::*;
    use crate::doctor::report::Verdict;

    fn instance(id: u128, report: InstanceReport) -> Heartbeat {
        let published = Published { instance: Some(report), ..Published::default() };
        heartbeat(id, ProcessState::Api(published))
    }

    fn heartbeat(id: u128, state: ProcessState) -> Heartbeat {
        let process = Uuid::from_u128(id << 96);
        Heartbeat { process, version: env!("CARGO_PKG_VERSION").to_owned(), state }
    }

    fn report_of(keys: &[&str]) -> InstanceReport {
        InstanceReport {
            ticket_keys: keys.iter().map(ToString::to_string).collect(),
            booking_deadline_millis: 900_000,
            database_connections: 10,
            ..InstanceReport::default()
        }
    }

    fn shared(keys: &[&str]) -> Shared {
        let ticket_keys = keys.iter().map(ToString::to_string).collect();
        Shared { ticket_keys, booking_deadline: Duration::from_mins(15) }
    }

    /// The verdicts that are not ok, by check.
    fn problems(heard: &[Heartbeat], keys: &[&str]) -> Vec<(Verdict, &'static str)> {
        let findings = check(heard, Some(&shared(keys)));
        let problems = findings.into_iter().filter(|it| it.verdict != Verdict::Ok);
        problems.map(|it| (it.verdict, it.check)).collect()
    }

    #[test]
    fn an_installation_whose_processes_agree_has_no_problem() {
        let worker = heartbeat(9, ProcessState::Worker(WorkerState::default()));
        let heard = [instance(1, report_of(&["a", "b"])), instance(2, report_of(&["a", "b"])), worker];
        assert_eq!(problems(&heard, &["a", "b"]), []);
        assert_eq!(database_sessions(&heard), 13 + 13 + 5);
    }

    #[test]
    fn an_instance_that_does_not_verify_what_another_signs_is_an_error() {
        let worker = heartbeat(9, ProcessState::Worker(WorkerState::default()));
        let wrong = [instance(1, report_of(&["a"])), instance(2, report_of(&["b", "a"])), worker.clone()];
        assert!(problems(&wrong, &["a"]).contains(&(Verdict::Error, KEYS)));
        let in_progress = [instance(1, report_of(&["a"])), instance(2, report_of(&["a", "b"])), worker];
        assert_eq!(problems(&in_progress, &["a"]), [(Verdict::Warning, KEYS)]);
    }

    #[test]
    fn different_deadlines_wrong_clocks_and_versions_are_reported() {
        let worker = heartbeat(9, ProcessState::Worker(WorkerState::default()));
        let odd = InstanceReport {
            booking_deadline_millis: 60_000,
            clock_offset_millis: Some(-5_000),
            ..report_of(&["a"])
        };
        let mut newer = instance(2, odd);
        newer.version = "99.0.0".to_owned();
        assert_eq!(
            problems(&[instance(1, report_of(&["a"])), newer, worker], &["a"]),
            [(Verdict::Warning, VERSIONS), (Verdict::Warning, DEADLINE), (Verdict::Warning, CLOCKS)]
        );
    }

    #[test]
    fn missing_and_unready_processes_and_earlier_versions_are_reported() {
        assert_eq!(problems(&[], &["a"]), [(Verdict::Warning, INSTANCES), (Verdict::Warning, WORKERS)]);
        let worker =
            WorkerState { not_ready: vec!["settlement: halted".to_owned()], ..WorkerState::default() };
        let heard = [
            heartbeat(1, ProcessState::Api(Published::default())),
            heartbeat(9, ProcessState::Worker(worker)),
        ];
        assert_eq!(problems(&heard, &["a"]), [(Verdict::Skipped, INSTANCES), (Verdict::Error, WORKERS)]);
    }
}
