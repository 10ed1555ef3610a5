//! Early rejection: an instance that knows that a seat is sold rejects a booking of it at once, without a ticket, a message or a
//! row (decision 39).
//!
//! When 100 000 people want 300 seats, 99 700 bookings can only be rejected. An instance learns the sold seats of a concert when
//! somebody books one of its seats: [`watch`] reads them once, announcements of the workers add the sales since, and one query
//! every 250 ms compares for all concerts whether seats were freed. [`rule`] says when this knowledge is enough; everything else
//! is queued, so what an instance does not know costs time and never correctness.

mod concert;
mod concerts;
mod failed_loads;
mod layout;
mod metrics;
pub mod rule;
mod sales;
mod setting;
mod stored;
mod watch;

use std::collections::HashSet;
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hamro_shared::domain::{BookingRequest, IdempotencyKey, Rejection, SeatId, Timestamp};
use hamro_shared::queue::AnnouncedSales;
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::sync::Notify;

use self::concert::Moment;
use self::concerts::{Concerts, Verdict};
use self::metrics::EarlyRejectionMetrics;
pub use self::setting::EarlyRejectionSetting;
pub use self::watch::Watch;
use crate::boot_clock::since_boot;

/// How many seats of unknown concerts are remembered until they are looked up. More only wait for another request.
const UNKNOWN_MAX: usize = 1_000;

/// What an instance knows about sold seats. Clones share it.
#[derive(Clone)]
pub struct EarlyRejection(Arc<Inner>);

struct Inner {
    is_on: bool,
    concerts: RwLock<Concerts>,
    /// Whether a booking was requested since the last comparison.
    is_asked: AtomicBool,
    asked: Notify,
    /// Seats of concerts that are to be loaded.
    unknown: Mutex<HashSet<SeatId>>,
    metrics: EarlyRejectionMetrics,
}

impl EarlyRejection {
    pub fn new(setting: EarlyRejectionSetting, registry: &mut MetricsRegistry) -> Self {
        let early_rejection = Self(Arc::new(Inner {
            is_on: setting == EarlyRejectionSetting::On,
            concerts: RwLock::default(),
            is_asked: AtomicBool::new(false),
            asked: Notify::new(),
            unknown: Mutex::default(),
            metrics: EarlyRejectionMetrics::register(registry),
        }));
        metrics::register_state(&early_rejection, registry);
        early_rejection
    }

    /// Why a worker would certainly reject the booking, which is not queued then. `None`: queue it.
    ///
    /// `now` is the time by the clock that issues tickets.
    pub fn rejection_of(
        &self,
        request: &BookingRequest,
        key: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Option<Rejection> {
        if !self.0.is_on {
            return None;
        }
        let now = Moment { since_boot: since_boot(), time: now };
        let verdict = self.concerts().judge(request, key, now);
        if verdict == Verdict::QueueUnknown {
            self.remember_unknown(request.seat_ids());
        }
        // Last, so that the task that this wakes finds the seats.
        self.ask();
        let Verdict::Reject(rejection) = verdict else { return None };
        self.0.metrics.count(&rejection);
        Some(rejection)
    }

    /// Learns the announced sales of a batch.
    pub fn on_settled(&self, sales: &[AnnouncedSales]) {
        if !self.0.is_on || sales.is_empty() {
            return;
        }
        let mut concerts = self.concerts_mut();
        for sales in sales {
            concerts.learn(sales);
        }
    }

    /// With a safeguard disabled, an accepted booking counts as sold.
    #[cfg(feature = "faults")]
    pub fn on_accepted(&self, seats: &[SeatId]) {
        use hamro_shared::faults::{Safeguard, is_disabled};
        if is_disabled(Safeguard::CommittedSales) {
            self.concerts_mut().mark_accepted(seats);
        }
    }

    /// Has the concerts compared with the database, and loaded if necessary.
    fn ask(&self) {
        // Reads first: a write for each request would be contended for.
        if !self.0.is_asked.load(Ordering::Relaxed) && !self.0.is_asked.swap(true, Ordering::Relaxed) {
            self.0.asked.notify_one();
        }
    }

    /// Resolves once a booking was requested since the last call.
    async fn asked(&self) {
        while !self.0.is_asked.swap(false, Ordering::Relaxed) {
            self.0.asked.notified().await;
        }
    }

    fn remember_unknown(&self, seats: &[SeatId]) {
        let mut unknown = self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        for seat in seats {
            if unknown.len() < UNKNOWN_MAX {
                unknown.insert(*seat);
            }
        }
    }

    fn take_unknown(&self) -> HashSet<SeatId> {
        take(&mut *self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn concerts(&self) -> RwLockReadGuard<'_, Concerts> {
        self.0.concerts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn concerts_mut(&self) -> RwLockWriteGuard<'_, Concerts> {
        self.0.concerts.write().unwrap_or_else(PoisonError::into_inner)
    }
}
