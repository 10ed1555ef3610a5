//! Memory and CPU time of the processes of the system under test, if they run on this machine (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// A process from the command line.
#[derive(Clone, Debug)]
pub struct Process {
    pub name: String,
    pub pid: u32,
}

impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').ok_or("must look like api=12345")?;
        let pid = pid.parse().map_err(|_| "must be a name and a process id, such as api=12345")?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

impl Process {
    /// Resident memory in kilobytes. `None` if the process has ended.
    pub fn resident_kilobytes(&self) -> Option<u64> {
        kilobytes(&format!("/proc/{}/status", self.pid), "VmRSS")
    }
}

/// The CPU time of a process and its descendants while buyers arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Of one core.
    pub cpu_percent: f64,
    pub cpu_micros_a_request: f64,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
    pub fn of(taken: Duration, during: Duration, requests: u64) -> Self {
        let taken = taken.as_secs_f64();
        Self {
            cpu_percent: 100.0 * taken / during.as_secs_f64().max(1e-3),
            cpu_micros_a_request: 1e6 * taken / requests.max(1) as f64,
        }
    }
}

/// The CPU time of processes at one moment. Their names are distinct.
pub struct CostMark<'a> {
    processes: &'a [Process],
    at: Instant,
    taken: BTreeMap<&'a str, Duration>,
}

impl<'a> CostMark<'a> {
    pub fn now(processes: &'a [Process]) -> Self {
        let tree = Tree::read();
        let taken =
            processes.iter().filter_map(|process| Some((process.name.as_str(), tree.taken(process.pid)?)));
        Self { processes, taken: taken.collect(), at: Instant::now() }
    }

    /// The CPU time of each process since this mark. A process that has ended is omitted.
    pub fn costs(&self, requests: u64) -> BTreeMap<String, Cost> {
        let later = Self::now(self.processes);
        let cost = |(name, after): (&&str, &Duration)| {
            let taken = after.saturating_sub(*self.taken.get(name)?);
            Some(((*name).to_owned(), Cost::of(taken, later.at - self.at, requests)))
        };
        later.taken.iter().filter_map(cost).collect()
    }
}

/// All processes: the children of each, and its CPU ticks, including those of its terminated children.
#[derive(Default)]
struct Tree {
    started: BTreeMap<u32, Vec<u32>>,
    ticks: BTreeMap<u32, u64>,
}

impl Tree {
    fn read() -> Self {
        let mut tree = Self::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // The process may have ended in the meantime.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            if let Some((parent, ticks)) = parse(&stat) {
                tree.started.entry(parent).or_default().push(pid);
                tree.ticks.insert(pid, ticks);
            }
        }
        tree
    }

    fn taken(&self, pid: u32) -> Option<Duration> {
        let per_second =
            sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok())?;
        self.ticks.contains_key(&pid).then(|| Duration::from_secs(self.ticks_of(pid)) / per_second)
    }

    fn ticks_of(&self, pid: u32) -> u64 {
        let own = self.ticks.get(&pid).copied().unwrap_or_default();
        own + self.started.get(&pid).into_iter().flatten().map(|pid| self.ticks_of(*pid)).sum::<u64>()
    }
}

/// The parent and the ticks in a line of /proc/PID/stat. The second field is a name in parentheses with arbitrary
/// contents.
fn parse(stat: &str) -> Option<(u32, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    // utime, stime, cutime and cstime.
    let ticks = fields.skip(9).take(4).map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some((parent, ticks))
}

/// The value of the line that starts with `name` in a file of /proc.
pub fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub fn kilobytes(path: &str, name: &str) -> Option<u64> {
    field(path, name)?.trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_parsed_whatever_the_process_name() {
        let line = "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some((7, 124)));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn the_cpu_time_of_a_process_includes_its_descendants() {
        let tree = Tree {
            started: BTreeMap::from([(1, vec![2, 3]), (2, vec![4])]),
            ticks: BTreeMap::from([(1, 1), (2, 10), (3, 100), (4, 1000), (5, 10_000)]),
        };
        assert_eq!((tree.ticks_of(1), tree.ticks_of(2)), (1111, 1010));
        assert_eq!(tree.taken(6), None);
    }

    #[test]
    fn the_cpu_time_of_this_process_is_measured() {
        let this = [Process { name: "this".to_owned(), pid: std::process::id() }];
        let mark = CostMark::now(&this);
        let started = Instant::now();
        while mark.costs(1)["this"].cpu_micros_a_request == 0.0 {
            assert!(started.elapsed() < Duration::from_secs(30), "no CPU time was measured");
        }
    }
}
