//! What every program exports: its version, its process and its tokio runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics_process::collector::{self, Metrics};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge};
use tokio::runtime::{Handle, RuntimeMetrics};

use super::{MetricsRegistry, NoLabels};

crate::metric_labels! {
    struct Build {
        program,
        version,
    }
}

type ReadProcess = fn(&Metrics) -> Option<f64>;
type ReadRuntime = fn(&RuntimeMetrics) -> f64;

/// The figures of one rendering are read together: each reading lists all open files.
#[derive(Default)]
struct ProcessReading(Mutex<Option<(Instant, Metrics)>>);

impl ProcessReading {
    const KEPT_FOR: Duration = Duration::from_millis(100);

    fn read(&self, value: ReadProcess) -> Option<f64> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = match latest.take().filter(|(at, _)| at.elapsed() < Self::KEPT_FOR) {
            Some(kept) => latest.insert(kept),
            None => latest.insert((Instant::now(), collector::collect())),
        };
        value(&latest.1)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(super) fn register(registry: &mut MetricsRegistry, program: &'static str) {
    registry.read_gauges("build_info", "Always 1; the program and its version", move || {
        vec![(Build { program, version: env!("CARGO_PKG_VERSION") }, 1.0)]
    });
    let process: [(&str, MetricType, &str, ReadProcess); 6] = [
        ("process_resident_memory_bytes", Gauge, "Resident memory", |it| {
            it.resident_memory_bytes.map(|n| n as f64)
        }),
        ("process_open_fds", Gauge, "Open file descriptors", |it| it.open_fds.map(|n| n as f64)),
        ("process_max_fds", Gauge, "Limit on open file descriptors", |it| it.max_fds.map(|n| n as f64)),
        ("process_threads", Gauge, "Threads", |it| it.threads.map(|n| n as f64)),
        ("process_start_time_seconds", Gauge, "When the process started, as a Unix time", |it| {
            it.start_time_seconds.map(|n| n as f64)
        }),
        ("process_cpu_seconds", Counter, "Processor time since the start", |it| it.cpu_seconds_total),
    ];
    let reading = Arc::new(ProcessReading::default());
    for (name, kind, help, value) in process {
        let reading = reading.clone();
        let read = move || reading.read(value).map(|value| (NoLabels, value)).into_iter().collect();
        registry.read_on_scrape(name.to_owned(), kind, help, read);
    }
    let runtime: [(&str, &str, ReadRuntime); 3] = [
        ("tokio_workers", "Threads of the tokio runtime", |it| it.num_workers() as f64),
        ("tokio_alive_tasks", "Tasks that have not ended", |it| it.num_alive_tasks() as f64),
        ("tokio_global_queue_tasks", "Tasks that wait in the global queue", |it| {
            it.global_queue_depth() as f64
        }),
    ];
    for (name, help, read) in runtime {
        let metrics = Handle::current().metrics();
        registry.read_gauge(name, help, move || Some(read(&metrics)));
    }
    let metrics = Handle::current().metrics();
    registry.read_counter(
        "tokio_busy_seconds",
        "Time in which threads of the runtime were busy",
        move || {
            let workers = 0..metrics.num_workers();
            Some(workers.map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64()).sum())
        },
    );
}
