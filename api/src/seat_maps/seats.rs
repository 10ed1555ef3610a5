//! The full seat map and the list of available seats: when they are made again, and what requests get meanwhile.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::domain::ConcertId;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn;
use tokio::time::{Instant, timeout};

use super::json::seats::Selection;
use super::kept::{KeptDocuments, Made, Slot};
use super::{Document, MAKE_TIMEOUT, SeatMapError, SeatMaps, json, wait};
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::{Needed, SeatFeedError, WatchedSeatMap};

/// A request waits for a pause that ends this soon.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// How long a request waits for a new document if there is an earlier one.
const WAIT_WITH_EARLIER: Duration = Duration::from_secs(1);

/// The document that a request wants.
#[derive(Clone)]
struct Wanted {
    seat_map: Arc<WatchedSeatMap>,
    kept: Arc<KeptDocuments>,
    selection: Selection,
    needed: Needed,
    /// How long ago the seats were verified, if that was too long ago because the database does not respond.
    unverified: Option<Duration>,
}

impl Wanted {
    fn slot(&self) -> &Slot {
        self.kept.seats(self.selection)
    }

    /// The document that was made last.
    fn latest(&self, made: &Made) -> Document {
        if self.unverified.is_none() { made.document(None) } else { made.outdated() }
    }
}

impl SeatMaps {
    /// The full seat map of a concert, or its available seats.
    pub async fn seats(&self, concert: ConcertId, selection: Selection) -> Result<Document, SeatMapError> {
        let seat_map = self.0.feed.watch(concert).await?;
        let unverified = self.0.feed.verify(&seat_map).await?;
        let kept = self.kept(&seat_map);
        let needed = self.0.feed.needed(&seat_map);
        let wanted = Wanted { seat_map, kept, selection, needed, unverified };
        let earlier = wanted.slot().made();
        if let Some(made) = &earlier
            && let Some(document) = self.earlier_document(made, &wanted).await
        {
            return Ok(document);
        }
        let making = self.make_or_wait(&wanted);
        match earlier {
            Some(made) if needed.has_own_writes(made.as_of) => {
                match timeout(WAIT_WITH_EARLIER, making).await {
                    Ok(Err(SeatMapError::Feed(SeatFeedError::ConcertNotFound))) => {
                        Err(SeatFeedError::ConcertNotFound.into())
                    }
                    Ok(Ok(document)) => Ok(document),
                    // The database has just begun not to respond, or the document takes long to make.
                    Ok(Err(_)) | Err(_) => Ok(made.outdated()),
                }
            }
            // A client should not miss what it has just written, so it waits longer.
            Some(made) => match timeout(MAKE_TIMEOUT, making).await {
                Ok(result) => result,
                Err(_) => Ok(made.outdated()),
            },
            None => timeout(MAKE_TIMEOUT, making).await.map_err(|_| SeatMapError::TimedOut)?,
        }
    }

    /// What a request gets of an earlier document. `None` if a new one is to be made now.
    async fn earlier_document(&self, made: &Made, wanted: &Wanted) -> Option<Document> {
        if made.as_of >= wanted.needed.since {
            return Some(made.document(wanted.unverified));
        }
        if wanted.unverified.is_some() {
            return Some(made.outdated());
        }
        if wanted.needed.has_own_writes(made.as_of) {
            match self.0.pace.pause(made, Instant::now()) {
                Duration::ZERO => {}
                pause if pause <= SHORT_PAUSE => wait(pause).await,
                _ => return Some(made.outdated()),
            }
        }
        None
    }

    /// Makes the document, or waits until another request has made it.
    async fn make_or_wait(&self, wanted: &Wanted) -> Result<Document, SeatMapError> {
        let turn = wanted.slot().turn().await;
        if let Some(made) = wanted.slot().made()
            && (made.as_of >= wanted.needed.since || wanted.unverified.is_some())
        {
            return Ok(wanted.latest(&made));
        }
        // In a task of its own: a client that disconnects must not make others wait for a second attempt.
        let made = spawn(self.clone().make_seats(wanted.clone(), turn)).await??;
        Ok(wanted.latest(&made))
    }

    /// Makes the document of what the database has now, if it responds.
    async fn make_seats(self, wanted: Wanted, _turn: OwnedMutexGuard<()>) -> Result<Made, SeatMapError> {
        let Wanted { seat_map, selection, needed, .. } = &wanted;
        if wanted.unverified.is_none() {
            self.0.feed.read(seat_map, needed.since).await?;
        }
        let (table, as_of) = seat_map.stored().ok_or(SeatFeedError::ConcertNotFound)?;
        let (revision, seats) = (table.revision(), table.total());
        if let Some(made) = wanted.slot().made()
            && made.revision == revision
        {
            return Ok(wanted.slot().keep(Made { as_of, ..made }));
        }
        let (concert, selection) = (seat_map.concert, *selection);
        let encode = move || {
            ReadyBody::compressed_only(|| json::seats::Pieces::new(concert, table.clone(), selection))
        };
        let (body, took) = self.make_large(selection.name(), encode).await?;
        let made_at = Instant::now();
        let made = Made { body, as_of, revision, seats, made_at, took, last_event_id: None };
        let made = wanted.slot().keep(made);
        self.forget_oldest();
        Ok(made)
    }
}
