//! Memory and CPU time of the processes of the system under test, if they run on this machine (proc(5)).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use procfs::process::{Status, all_processes};
use procfs::ticks_per_second;
use serde::{Deserialize, Serialize};

/// A process from the command line.
#[derive(Clone, Debug)]
pub struct Process {
    pub name: String,
    pub pid: i32,
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
        status(self.pid)?.vmrss
    }

    /// Peak resident memory in kilobytes. `None` if the process has ended.
    pub fn peak_kilobytes(&self) -> Option<u64> {
        status(self.pid)?.vmhwm
    }
}

fn status(pid: i32) -> Option<Status> {
    procfs::process::Process::new(pid).ok()?.status().ok()
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
            processes.iter().filter_map(|process| Some((process.name.as_str(), tree.cpu_time(process.pid)?)));
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
    children: BTreeMap<i32, Vec<i32>>,
    ticks: BTreeMap<i32, u64>,
}

impl Tree {
    fn read() -> Self {
        let mut tree = Self::default();
        // A process that has ended in the meantime is omitted.
        for process in all_processes().into_iter().flatten().flatten() {
            let Ok(stat) = process.stat() else { continue };
            let of_children = (stat.cutime + stat.cstime).unsigned_abs();
            tree.children.entry(stat.ppid).or_default().push(stat.pid);
            tree.ticks.insert(stat.pid, stat.utime + stat.stime + of_children);
        }
        tree
    }

    /// `None` if there is no such process.
    fn cpu_time(&self, pid: i32) -> Option<Duration> {
        let millis = |ticks: u64| ticks.saturating_mul(1_000) / ticks_per_second();
        self.ticks.contains_key(&pid).then(|| Duration::from_millis(millis(self.ticks_of(pid))))
    }

    fn ticks_of(&self, pid: i32) -> u64 {
        let own = self.ticks.get(&pid).copied().unwrap_or_default();
        own + self.children.get(&pid).into_iter().flatten().map(|pid| self.ticks_of(*pid)).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_a_process_includes_its_descendants() {
        let tree = Tree {
            children: BTreeMap::from([(1, vec![2, 3]), (2, vec![4])]),
            ticks: BTreeMap::from([(1, 1), (2, 10), (3, 100), (4, 1000), (5, 10_000)]),
        };
        assert_eq!((tree.ticks_of(1), tree.ticks_of(2)), (1111, 1010));
        assert_eq!(tree.cpu_time(6), None);
    }

    #[test]
    fn the_cpu_time_of_this_process_is_measured() {
        let this = [Process { name: "this".to_owned(), pid: std::process::id().try_into().unwrap() }];
        let mark = CostMark::now(&this);
        let started = Instant::now();
        while mark.costs(1)["this"].cpu_micros_a_request == 0.0 {
            assert!(started.elapsed() < Duration::from_secs(30), "no CPU time was measured");
        }
    }
}
