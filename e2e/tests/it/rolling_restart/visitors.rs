//! Visitors who look at a concert and book nothing: they load pages, the catalogue and the seat map, and watch its changes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, wait_until};
use hamro_verification::http::{Client, Event};
use hyper::Method;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

const BROWSING: usize = 2;
const WATCHING: usize = 2;

/// Between two requests of a visitor, and before a stream that has ended is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// Running visitors. They stop at once when this is dropped.
pub struct Visitors {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    client: Client,
    concert: String,
    stop: CancellationToken,
    requests: AtomicU64,
    failed: AtomicU64,
    /// Streams that were opened again after the last event that had been received.
    resumed: AtomicU64,
    /// The booked seats that each watcher knows.
    booked: [Mutex<BTreeSet<i64>>; WATCHING],
}

impl Visitors {
    pub fn start(client: Client, concert: String) -> Self {
        let shared = Arc::new(Shared {
            client,
            concert,
            stop: CancellationToken::new(),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            booked: std::array::from_fn(|_| Mutex::default()),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..BROWSING {
            let shared = shared.clone();
            tasks.spawn(async move {
                shared.stop.run_until_cancelled(shared.browse()).await;
            });
        }
        for number in 0..WATCHING {
            let shared = shared.clone();
            tasks.spawn(async move {
                shared.stop.run_until_cancelled(shared.watch(number)).await;
            });
        }
        Self { shared, tasks }
    }

    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    pub fn resumed(&self) -> u64 {
        self.shared.resumed.load(Ordering::Relaxed)
    }

    /// Waits until every watcher knows all seats that are sold now.
    pub async fn have_seen_all_sales(&self, deployment: &Deployment) -> Result<()> {
        let sold: Vec<i32> = sqlx::query_scalar(
            "SELECT seat_id FROM sale_seats WHERE concert_id = $1::uuid AND released_at IS NULL",
        )
        .bind(&self.shared.concert)
        .fetch_all(&deployment.pool)
        .await?;
        let sold: BTreeSet<i64> = sold.into_iter().map(i64::from).collect();
        wait_until("every watcher knows all sold seats", async || {
            let knows = |booked: &Mutex<BTreeSet<i64>>| {
                booked.lock().unwrap_or_else(PoisonError::into_inner).is_superset(&sold)
            };
            Ok(self.shared.booked.iter().all(knows).then_some(()))
        })
        .await
    }

    pub async fn stop(&mut self) {
        self.shared.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Shared {
    async fn browse(&self) {
        let concert = &self.concert;
        let paths = [
            "/".to_owned(),
            format!("/c/{concert}"),
            "/concerts?limit=1000".to_owned(),
            format!("/concerts/{concert}"),
            format!("/ticket-tiers?limit=1000&concertId={concert}"),
            format!("/seats/concert/{concert}"),
            "/ticket-types".to_owned(),
            format!("/seats/concert/{concert}/available"),
            "/queue".to_owned(),
        ];
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for path in paths.iter().cycle() {
            ticks.tick().await;
            match self.client.get(path).await {
                Ok(response) if response.status == 200 => {}
                Ok(response) => self.fail(path, &format!("{} {:?}", response.status, response.body)),
                Err(error) => self.fail(path, &format!("{error:?}")),
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Watches the seat map, and resumes after the last event whenever the stream ends.
    async fn watch(&self, number: usize) {
        let path = format!("/seats/concert/{}/events", self.concert);
        let mut last = None;
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.requests.fetch_add(1, Ordering::Relaxed);
            if last.is_some() {
                self.resumed.fetch_add(1, Ordering::Relaxed);
            }
            if let Err(error) = self.read_stream(&path, number, &mut last).await {
                self.fail(&path, &format!("{error:?}"));
            }
        }
    }

    async fn read_stream(&self, path: &str, number: usize, last: &mut Option<String>) -> Result<()> {
        let mut request = self.client.request(Method::GET, path);
        if let Some(last) = last.as_deref() {
            request = request.header("Last-Event-ID", last);
        }
        let mut stream = request.events().await?;
        anyhow::ensure!(stream.status() == 200, "the status is {}", stream.status());
        while let Some(Event { id, name, data }) = stream.next().await? {
            if name == "catalogue" {
                continue;
            }
            let data: Value = serde_json::from_str(&data)?;
            let mut booked = self.booked[number].lock().unwrap_or_else(PoisonError::into_inner);
            if name == "snapshot" {
                booked.clear();
            }
            booked.extend(ids(&data, "bookedSeatIds")?);
            if name == "change" {
                for freed in ids(&data, "freedSeatIds")? {
                    booked.remove(&freed);
                }
            }
            *last = Some(id);
        }
        Ok(())
    }

    #[expect(clippy::print_stderr, reason = "tests print details of a failure")]
    fn fail(&self, path: &str, reason: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        eprintln!("GET {path} failed: {reason}");
    }
}

fn ids(data: &Value, name: &str) -> Result<Vec<i64>> {
    let ids = data[name].as_array().with_context(|| format!("no {name}: {data}"))?;
    ids.iter().map(|id| id.as_i64().context("not a seat")).collect()
}
