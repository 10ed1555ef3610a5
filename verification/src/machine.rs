//! The machine of a measurement, and the resources that the load generator uses.

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use procfs::{CpuInfo, Current, Meminfo};
use serde::{Deserialize, Serialize};

use crate::processes::Cost;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_mb: u64,
}

impl Machine {
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpus = CpuInfo::current().ok();
        let processor = cpus.as_ref().and_then(|cpus| cpus.model_name(0)).unwrap_or("unknown").to_owned();
        let memory_mb = Meminfo::current().map_or(0, |memory| memory.mem_total / (1024 * 1024));
        Self { cores, processor, memory_mb }
    }
}

/// The resources that this program used while buyers arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoaderCost {
    #[serde(flatten)]
    pub cpu: Cost,
    pub resident_mb: u64,
}

/// The CPU time of this program at one moment.
#[derive(Clone, Copy)]
pub struct CpuMark {
    at: Instant,
    taken: Duration,
}

impl CpuMark {
    pub fn now() -> Self {
        let taken = getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage: Usage| {
            duration(usage.user_time()) + duration(usage.system_time())
        });
        Self { at: Instant::now(), taken }
    }

    /// The resources used since this mark.
    pub fn cost(self, requests: u64) -> LoaderCost {
        let now = Self::now();
        let resident = procfs::process::Process::myself().and_then(|this| this.status()).ok();
        LoaderCost {
            cpu: Cost::of(now.taken.saturating_sub(self.taken), now.at - self.at, requests),
            resident_mb: resident.and_then(|status| status.vmrss).unwrap_or_default() / 1024,
        }
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
}
