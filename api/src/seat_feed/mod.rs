//! Seat maps that clients watch or ask for.
//!
//! All clients of an instance share one seat map per concert in memory. The workers' announcements update it at once. An
//! announcement may be lost, so three times a second one query reads the versions of all watched seat maps and their
//! numbers of available seats, which change in the same transaction as the seats. A seat map that has missed a change is
//! reloaded: the seats that were written since the previous read are read again.
//!
//! The same clients learn when the concert itself has changed ([`catalogue_events`]).

mod booked_seats;
mod catalogue_events;
mod error;
mod event_history;
mod events;
mod freshness;
mod latest_read;
pub mod layout_version;
mod loading;
mod metrics;
mod reconciliation;
mod seat_map_state;
mod seat_reader;
pub mod seat_table;
mod stored_seats;
mod subscribing;
mod updating;
pub mod version;
mod watched_maps;
mod watched_seat_map;

use std::sync::Arc;

use hamro_shared::database::Database;
use hamro_shared::domain::{Booking, ConcertId};
use hamro_shared::queue::{FreedSeat, RawSettledTicket, SoldSeats};
use hamro_shared::telemetry::metrics::Counter;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tracing::warn;

pub use self::error::SeatFeedError;
use self::error::within_timeout;
pub use self::events::{CatalogueVersion, SeatsChange, SeatsEvent, SeatsSnapshot};
pub use self::freshness::Needed;
use self::seat_reader::SeatReader;
use self::updating::RELOADS_AT_ONCE;
use self::watched_maps::WatchedMaps;
pub use self::watched_seat_map::{CurrentSeats, WatchedSeatMap};
use crate::http::own_writes::OwnWrites;

/// How many seat maps may be loaded at the same time. A load goes on when its client hangs up, so the number of
/// connections does not bound them.
const LOADS_MAX: usize = 1_000;

/// The seat maps that are watched on this instance. Clones share them.
#[derive(Clone)]
pub struct SeatFeed {
    reader: Arc<SeatReader>,
    watched: Arc<WatchedMaps>,
    loads: Arc<Semaphore>,
    reloads: Arc<Semaphore>,
    /// Notified after each comparison with the database, and after each reload that one led to.
    compared: Arc<Notify>,
    own_writes: OwnWrites,
    /// Announced outcomes that could not be read.
    unreadable: Counter,
}

impl SeatFeed {
    pub fn new(database: Database, own_writes: OwnWrites) -> Self {
        Self {
            reader: Arc::new(SeatReader::new(database)),
            watched: Arc::default(),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            reloads: Arc::new(Semaphore::new(RELOADS_AT_ONCE)),
            compared: Arc::default(),
            own_writes,
            unreadable: Counter::default(),
        }
    }

    /// The seat map of a concert, which is kept up to date while it is used, and for half a minute.
    pub async fn watch(&self, concert: ConcertId) -> Result<Arc<WatchedSeatMap>, SeatFeedError> {
        let loaded = self.watched.get(concert).filter(|seat_map| seat_map.is_loaded());
        let seat_map = match loaded {
            Some(seat_map) => seat_map,
            None => self.load(concert).await?,
        };
        seat_map.record_use();
        Ok(seat_map)
    }

    /// Reads what has changed of the seats, unless a read has begun at `since` or later.
    pub async fn read(&self, seat_map: &Arc<WatchedSeatMap>, since: Instant) -> Result<(), SeatFeedError> {
        if within_timeout(seat_map.read(&self.reader, since)).await? {
            return Ok(());
        }
        self.watched.remove(seat_map);
        Err(SeatFeedError::ConcertNotFound)
    }

    /// Applies a sale that was read from the database to the watched seat maps.
    pub fn on_sale(&self, booking: &Booking) {
        let seat_maps = booking.ticket_data.iter().filter_map(|line| self.watched.get(line.concert_id));
        let mut seats = booking.seat_ids.clone();
        seats.retain(|seat| !booking.released_seat_ids.contains(seat));
        for seat_map in seat_maps {
            seat_map.mark_sold(&seats);
        }
    }

    /// Applies announced sales to the watched seat maps.
    pub fn on_settled(&self, announced: &[RawSettledTicket]) {
        let seat_maps = self.watched.by_concert();
        if seat_maps.is_empty() {
            return;
        }
        let mut unreadable = 0;
        for ticket in announced {
            match ticket.sold() {
                Ok(Some(SoldSeats { concerts, seats })) => {
                    for seat_map in concerts.iter().filter_map(|concert| seat_maps.get(concert)) {
                        seat_map.mark_sold(&seats);
                    }
                }
                Ok(None) => {}
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            self.unreadable.inc_by(unreadable);
            warn!("cannot read {unreadable} announced outcomes; affected seat maps will be reloaded");
        }
    }

    /// Applies an announced release to the watched seat maps.
    pub fn on_released(&self, freed: &[FreedSeat]) {
        for FreedSeat { concert_id, seat_id } in freed {
            if let Some(seat_map) = self.watched.get(*concert_id) {
                seat_map.mark_freed(&[*seat_id]);
            }
        }
    }
}
