//! The machine that a figure was measured on, and what the loader and other processes take of it.

use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_mb: u64,
}

impl Machine {
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = kilobytes("/proc/meminfo", "MemTotal");
        Self { cores, processor, memory_mb: memory.unwrap_or_default() / 1024 }
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kilobytes(path: &str, name: &str) -> Option<u64> {
    field(path, name)?.trim_end_matches(" kB").parse().ok()
}

/// A process whose memory is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    pub name: String,
    pub pid: u32,
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').ok_or("must look like api=12345")?;
        let pid = pid.parse().map_err(|_| "must be a name and the number of a process, such as api=12345")?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

impl Watched {
    /// What it has, in kilobytes; nothing, if it has ended.
    pub fn resident_kilobytes(&self) -> Option<u64> {
        kilobytes(&format!("/proc/{}/status", self.pid), "VmRSS")
    }
}

/// What this program took while buyers arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoaderCost {
    /// Of one core.
    pub cpu_percent: f64,
    pub cpu_micros_a_request: f64,
    pub resident_mb: u64,
}

/// The processor time that this program has taken up to a moment.
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

    /// What it took from here until `later`, for so many requests.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn until(self, later: Self, requests: u64) -> LoaderCost {
        let taken = later.taken.saturating_sub(self.taken).as_secs_f64();
        let resident = kilobytes("/proc/self/status", "VmRSS");
        LoaderCost {
            cpu_percent: 100.0 * taken / later.at.duration_since(self.at).as_secs_f64().max(1e-3),
            cpu_micros_a_request: 1e6 * taken / requests.max(1) as f64,
            resident_mb: resident.unwrap_or_default() / 1024,
        }
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
}
