//! Makes bodies: each once, however many requests wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hamro_shared::database::is_transient;
use tokio::sync::Semaphore;
use tokio::task::{spawn, spawn_blocking};

use super::CatalogueCache;
use super::bodies::CachedBody;
use super::key::{CatalogueKey, Content};
use super::known::CurrentVersion;
use crate::http::problem::Problem;
use crate::http::ready_body::ReadyBody;

/// Content from this size on is compressed on a thread of its own: the rest takes less than a millisecond.
const LARGE: usize = 32 * 1024;

/// Larger content is kept compressed only.
const VERY_LARGE: usize = 1024 * 1024;

/// Large bodies that are compressed at the same time.
const LARGE_AT_ONCE: usize = 1;

/// Why a body could not be made.
#[derive(Clone)]
pub struct Failure {
    pub problem: Problem,
    /// Whether Postgres does not answer.
    pub is_away: bool,
}

type Built = Result<Option<CachedBody>, Failure>;

/// The bodies that are being made.
pub struct Building {
    running: Arc<Mutex<HashMap<CatalogueKey, RunningBuild>>>,
    large: Arc<Semaphore>,
}

/// A body that is being made from what was current as of this version.
struct RunningBuild {
    number: u64,
    built: Shared<BoxFuture<'static, Built>>,
}

impl RunningBuild {
    /// Whether a request that knows this version gets what is being made. One that has ended is only here if it panicked.
    fn is_of(&self, current: &CurrentVersion) -> bool {
        self.number >= current.number && self.built.peek().is_none()
    }
}

impl Default for Building {
    fn default() -> Self {
        Self { running: Arc::default(), large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }
}

impl Building {
    /// Makes the body and keeps it in `cache`, or waits until another request has made it. What a request gets was read after
    /// the check that found the version to be current.
    pub async fn build<F>(
        &self,
        key: CatalogueKey,
        current: CurrentVersion,
        earlier: Option<CachedBody>,
        load: impl FnOnce() -> F,
        cache: &CatalogueCache,
    ) -> Built
    where
        F: Future<Output = Result<Option<Content>, sqlx::Error>> + Send + 'static,
    {
        let built = {
            let mut running = self.running();
            match running.get(&key).filter(|running| running.is_of(&current)) {
                Some(running) => running.built.clone(),
                None => {
                    let built = self.start(key, current, earlier, load(), cache.clone());
                    running.insert(key, RunningBuild { number: current.number, built: built.clone() });
                    built
                }
            }
        };
        built.await
    }

    /// In its own task: the client of the request that began it may disconnect.
    fn start<F>(
        &self,
        key: CatalogueKey,
        current: CurrentVersion,
        earlier: Option<CachedBody>,
        load: F,
        cache: CatalogueCache,
    ) -> Shared<BoxFuture<'static, Built>>
    where
        F: Future<Output = Result<Option<Content>, sqlx::Error>> + Send + 'static,
    {
        let (large, running) = (self.large.clone(), self.running.clone());
        let task = spawn(async move {
            let built = make(current, earlier, load, &large).await;
            if let Ok(Some(body)) = &built {
                cache.keep(key, body.clone());
            }
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            // A later one may have taken its place.
            if running.get(&key).is_some_and(|running| running.number == current.number) {
                running.remove(&key);
            }
            drop(running);
            built
        });
        let built = async {
            let failed = |error| Failure { problem: Problem::internal(error), is_away: false };
            task.await.unwrap_or_else(|error| Err(failed(error)))
        };
        built.boxed().shared()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<CatalogueKey, RunningBuild>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(
    current: CurrentVersion,
    earlier: Option<CachedBody>,
    load: impl Future<Output = Result<Option<Content>, sqlx::Error>>,
    large: &Arc<Semaphore>,
) -> Built {
    let began = Instant::now();
    let Some(content) = load.await? else { return Ok(None) };
    let body = match earlier.filter(|earlier| earlier.body.has_tag(&content.tag)) {
        Some(same) => same.body,
        None => encode(content, large).await?,
    };
    let CurrentVersion { number, own_writes, checked_at, .. } = current;
    let build_time = began.elapsed().min(Duration::from_mins(1));
    Ok(Some(CachedBody { body, number, own_writes, verified_at: checked_at, build_time }))
}

async fn encode(content: Content, large: &Arc<Semaphore>) -> Result<ReadyBody, Failure> {
    let Content { bytes, content_type, tag } = content;
    if bytes.len() < LARGE {
        return Ok(ReadyBody::tagged(bytes, content_type, &tag));
    }
    let permit = large.clone().acquire_owned().await;
    let encoding = spawn_blocking(move || {
        let _permit = permit;
        if bytes.len() < VERY_LARGE {
            ReadyBody::tagged(bytes, content_type, &tag)
        } else {
            ReadyBody::tagged_compressed_only(bytes.into(), content_type, &tag)
        }
    });
    encoding.await.map_err(|error| Failure { problem: Problem::internal(error), is_away: false })
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let is_away = is_transient(&error) && !matches!(error, sqlx::Error::PoolTimedOut);
        Self { problem: error.into(), is_away }
    }
}
