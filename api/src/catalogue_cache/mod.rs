//! Serves the reads of the catalogue from memory: bodies that are made once for each version of their content.
//!
//! One check of the versions serves all requests ([`freshness`]). A body whose version has changed is made again by the
//! first request for it; others wait for the same body ([`bodies`] keeps it). docs/decisions/0037 explains how a version
//! covers every write.

mod bodies;
mod building;
mod freshness;
mod key;
mod known;
mod metrics;
mod versions;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::telemetry::metrics::MetricsRegistry;

use self::bodies::{Bodies, CachedBody};
use self::building::{Building, Failure};
use self::freshness::Freshness;
use self::key::Part;
pub use self::key::{CatalogueKey, Content, DocumentKey};
use self::known::CurrentVersion;
use self::metrics::CacheMetrics;
use crate::boot_clock::BootInstant;
use crate::http::own_writes::OwnWrites;
use crate::http::problem::Problem;
use crate::http::ready_body::ReadyBody;

/// For how long the last known body is served while Postgres is away.
const SERVED_WHILE_AWAY: Duration = Duration::from_mins(1);

/// A body may be made again once so many times the time has passed that making it took: at most a tenth of a core.
const PAUSE_PER_BUILD: u32 = 9;

/// However long it takes to make a body, an older one is not served for longer.
const PAUSE_MAX: Duration = Duration::from_millis(750);

/// The ready bodies of an instance. Clones share them.
#[derive(Clone)]
pub struct CatalogueCache(Arc<Inner>);

struct Inner {
    freshness: Freshness,
    bodies: RwLock<Bodies>,
    building: Building,
    metrics: CacheMetrics,
}

/// The versions of the parts of the catalogue, counted by this instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionNumbers([u64; Part::ALL.len()]);

/// What to respond with.
#[derive(Clone)]
pub struct CachedResponse {
    pub body: ReadyBody,
    /// Set if the body may no longer be current: the time since it was known to be.
    pub age: Option<Duration>,
}

impl CatalogueCache {
    pub fn new(database: Database, own_writes: OwnWrites) -> Self {
        let metrics = CacheMetrics::default();
        Self(Arc::new(Inner {
            freshness: Freshness::new(database, own_writes, metrics.clone()),
            bodies: RwLock::default(),
            building: Building::default(),
            metrics,
        }))
    }

    /// Exports what the cache does and how much memory it takes.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.0.metrics.register(registry, self);
    }

    /// Notes that seats were sold or released, so that counts of available seats have changed.
    pub fn note_sales(&self) {
        self.0.freshness.note_sales();
    }

    /// The numbers of the current versions of all parts, of which at least one is another after every change of the catalogue.
    /// `None` if Postgres does not answer.
    pub async fn version_numbers(&self) -> Option<VersionNumbers> {
        let mut numbers = VersionNumbers::default();
        for part in Part::ALL {
            let current = self.0.freshness.current_version(part).await;
            if current.is_away {
                return None;
            }
            numbers.0[part.index()] = current.number;
        }
        Some(numbers)
    }

    /// Forgets everything: the database continues from an earlier state.
    pub fn forget(&self) {
        let own_writes = self.0.freshness.own_writes().note(None);
        self.bodies_mut().forget(own_writes);
    }

    /// The body with this key; `None` if nothing has it. `load` reads its content from the database.
    pub async fn read<F>(
        &self,
        key: CatalogueKey,
        load: impl FnOnce() -> F,
    ) -> Result<Option<CachedResponse>, Problem>
    where
        F: Future<Output = Result<Option<Content>, sqlx::Error>> + Send + 'static,
    {
        let current = self.0.freshness.current_version(key.part()).await;
        let now = BootInstant::now();
        let known = self.bodies().find(&key, now);
        if let Some(body) = &known
            && is_servable(body, &current, now)
        {
            self.0.metrics.cached.inc();
            return Ok(Some(CachedResponse { body: body.body.clone(), age: None }));
        }
        if current.is_away {
            return match known.and_then(|body| last_known(&body, &current, now)) {
                Some(response) => {
                    self.0.metrics.last_known.inc();
                    Ok(Some(response))
                }
                None => Err(self.0.freshness.failure()),
            };
        }
        match self.0.building.build(key, current, known.clone(), load, self).await {
            Ok(built) => {
                self.0.metrics.built.inc();
                Ok(built.map(|built| CachedResponse { body: built.body, age: None }))
            }
            // Postgres went away since the check.
            Err(Failure { problem, is_away }) => {
                let last_known = known.filter(|_| is_away).and_then(|body| last_known(&body, &current, now));
                self.0.metrics.last_known.inc_by(u64::from(last_known.is_some()));
                last_known.map(Some).ok_or(problem)
            }
        }
    }

    /// Keeps a body that was made.
    fn keep(&self, key: CatalogueKey, body: CachedBody) {
        self.0.metrics.builds.inc();
        self.bodies_mut().keep(key, body, BootInstant::now());
    }

    fn bodies(&self) -> RwLockReadGuard<'_, Bodies> {
        self.0.bodies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bodies_mut(&self) -> RwLockWriteGuard<'_, Bodies> {
        self.0.bodies.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the body is current. One that takes long to make may be older, but not a second, and not than a write of this
/// instance.
fn is_servable(body: &CachedBody, current: &CurrentVersion, now: BootInstant) -> bool {
    if current.is_away {
        return false;
    }
    let pause = (body.build_time * PAUSE_PER_BUILD).min(PAUSE_MAX);
    body.number >= current.number
        || body.own_writes == current.own_writes
            && now.since(current.known_current(body.number, body.verified_at)) < pause
}

/// The last known body, unless it is too old.
fn last_known(body: &CachedBody, current: &CurrentVersion, now: BootInstant) -> Option<CachedResponse> {
    let age = now.since(current.known_current(body.number, body.verified_at));
    (age <= SERVED_WHILE_AWAY).then(|| CachedResponse { body: body.body.clone(), age: Some(age) })
}

#[cfg(test)]
mod tests {
    use super::known::{Before, Known};
    use super::versions::Versions;
    use super::*;

    fn at(millis: u64) -> BootInstant {
        BootInstant::at(Duration::from_millis(millis))
    }

    /// A body of the first version, which was current from the first to the tenth second.
    fn body(build_time: Duration) -> CachedBody {
        let body = ReadyBody::json(b"[]".to_vec());
        CachedBody { body, number: 1, own_writes: 0, verified_at: at(1_000), build_time }
    }

    /// What is known after checks in the first and the tenth second, and a third one that has found this version.
    fn current_version(latest: &str, own_writes: u64, is_away: bool) -> CurrentVersion {
        let mut known = Known::default();
        for (version, millis) in [("first", 1_000), ("first", 10_000), (latest, 10_250)] {
            let before = Before { at: at(millis), own_writes, sales: 0 };
            known.on_success(&Versions::all(version), &before, at(millis + 1));
        }
        known.current_version(Part::Tiers, is_away)
    }

    #[test]
    fn the_last_known_body_is_served_for_a_minute_with_its_age() {
        let current = current_version("first", 0, true);
        let age =
            |now| last_known(&body(Duration::ZERO), &current, now).map(|response| response.age.unwrap());
        assert_eq!(age(at(10_250)), Some(Duration::ZERO));
        assert_eq!(age(at(70_250)), Some(Duration::from_mins(1)));
        assert_eq!(age(at(70_251)), None);
        assert!(!is_servable(&body(Duration::ZERO), &current, at(10_250)), "not without its age");
    }

    #[test]
    fn a_body_whose_version_has_changed_is_served_no_longer_than_it_took_to_make_it_nine_times() {
        let changed = current_version("second", 0, false);
        for (build_time, until) in [(0, 0), (1, 9), (20, 180), (1_000, 750)] {
            let body = body(Duration::from_millis(build_time));
            let is_servable = |age: u64| is_servable(&body, &changed, at(10_000 + age));
            assert!(!is_servable(until), "{build_time}");
            assert!(until == 0 || is_servable(until - 1), "{build_time}");
        }
        let slow = body(Duration::from_secs(1));
        assert!(!is_servable(&slow, &current_version("second", 1, false), at(10_100)), "after an own write");
        assert!(
            is_servable(&slow, &current_version("first", 1, false), at(10_300)),
            "which did not change it"
        );
    }
}
